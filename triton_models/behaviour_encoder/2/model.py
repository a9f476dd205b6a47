"""A model of the repository on CPU: Triton's python backend around one ONNX file. Serves every model of this project.

Triton loads this file by path, from the stub's environment (numpy below 2): it imports nothing of the project.
Requests of any length may come in one batch: inputs whose first dimension is -1 are padded with zeros to the next
bucket, and rows of one bucket run together, at most ``run_rows`` at a time (more is not faster on a CPU).

Parameters of config.pbtxt: ``engine`` (auto: bf16 where the CPU has AMX for it; fp32), ``threads``, ``run_rows``,
``buckets`` (lengths, comma-separated; empty if nothing is ragged), ``max_id`` (largest value of the integer inputs).
The environment variable INTERESTFLOW_ENGINE goes before ``engine``.

An output named LABEL_SET is not asked of the ONNX file: it says, per row, which label set the loaded version scores
(the first 60 bits of ``label_set_hash`` of the manifest beside it), so that a client can refuse another one.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import triton_python_backend_utils as pb_utils

Array = np.ndarray[Any, Any]
Arrays = Mapping[str, Array]

LABEL_SET = "LABEL_SET"
#: Hexadecimal digits of the hash that a signed 64-bit integer holds.
_LABEL_SET_DIGITS = 15


class Engine(Protocol):
    """Runs the model."""

    def __init__(self, path: str, names: Sequence[str], threads: int) -> None:
        """Load the ONNX file; ``names`` are the wanted outputs."""

    def run(self, arrays: Arrays) -> list[Array]:
        """Outputs in the order of their names."""
        ...


class OnnxRuntimeEngine:
    """fp32 by ONNX Runtime: the same answer whoever shares the batch."""

    def __init__(self, path: str, names: Sequence[str], threads: int) -> None:
        import onnxruntime  # noqa: PLC0415 - only the engine in use is loaded

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        # Expand the int8 weights once, at load; otherwise it would look for integer kernels.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        self._session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self._names = names

    def run(self, arrays: Arrays) -> list[Array]:
        """Outputs in the order of their names."""
        outputs: list[Array] = self._session.run(self._names, dict(arrays))
        return outputs


class OpenVinoEngine:
    """bf16 by OpenVINO: several times faster on AMX, and off by up to a hundredth with the batch."""

    def __init__(self, path: str, names: Sequence[str], threads: int) -> None:
        import openvino  # noqa: PLC0415 - only the engine in use is loaded

        core = openvino.Core()
        settings = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": "1",
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": "bf16",
            # Pinned threads of several models would fight for the same cores.
            "ENABLE_CPU_PINNING": False,
            # Weights are int8, activations are not: never quantise these by what shares the batch.
            "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
        }
        self._request = core.compile_model(core.read_model(path), "CPU", settings).create_infer_request()
        self._names = names

    def run(self, arrays: Arrays) -> list[Array]:
        """Outputs in the order of their names."""
        results = self._request.infer(dict(arrays))
        return [np.array(results[name]) for name in self._names]


def has_amx_bf16(cpu_flags: str) -> bool:
    """Whether the words of /proc/cpuinfo name AMX for bf16."""
    return "amx_bf16" in cpu_flags.split()


def choose_engine(wanted: str, cpu_flags: str) -> type[Engine]:
    """The engine class for ``auto``, ``bf16`` or ``fp32``."""
    if wanted not in ("auto", "bf16", "fp32"):
        raise ValueError(f"engine is {wanted!r}; set it to auto, bf16 or fp32")
    if wanted == "bf16" or (wanted == "auto" and has_amx_bf16(cpu_flags)):
        return OpenVinoEngine
    return OnnxRuntimeEngine


def bucket_of(length: int, buckets: Sequence[int]) -> int:
    """The shortest bucket that holds a length."""
    for bucket in buckets:
        if length <= bucket:
            return bucket
    raise ValueError(f"a row has {length} tokens, the longest bucket is {buckets[-1]}; cut the text")


def padded(array: Array, length: int) -> Array:
    """A [n, t] array with zeros up to [n, length]."""
    if array.shape[1] == length:
        return array
    out = np.zeros((array.shape[0], length), dtype=array.dtype)
    out[:, : array.shape[1]] = array
    return out


def label_set_number(version: Path) -> int:
    """The label set of a version directory, as its manifest says."""
    manifest = json.loads((version / "manifest.json").read_text())
    return int(manifest["label_set_hash"][:_LABEL_SET_DIGITS], 16)


class Batch:
    """Requests of one length, as one array per input, with the rows of each request."""

    def __init__(self) -> None:
        self.requests: list[int] = []
        self.arrays: list[Arrays] = []

    def add(self, request: int, arrays: Arrays) -> None:
        """Take in one request's arrays."""
        self.requests.append(request)
        self.arrays.append(arrays)

    def inputs(self) -> dict[str, Array]:
        """All rows, by input name."""
        return {name: np.concatenate([arrays[name] for arrays in self.arrays]) for name in self.arrays[0]}

    def answers(self, outputs: Sequence[Array]) -> Iterator[tuple[int, list[Array]]]:
        """For each request its index and its rows of every output."""
        start = 0
        for request, arrays in zip(self.requests, self.arrays, strict=True):
            end = start + len(next(iter(arrays.values())))
            yield request, [np.ascontiguousarray(output[start:end]) for output in outputs]
            start = end


class TritonPythonModel:
    """What Triton's stub creates, one per instance."""

    def initialize(self, args: Mapping[str, str]) -> None:
        """Load the engine."""
        config = json.loads(args["model_config"])
        parameters = {key: value["string_value"] for key, value in config["parameters"].items()}
        self._inputs = [entry["name"] for entry in config["input"]]
        outputs = [entry["name"] for entry in config["output"]]
        self._outputs = [name for name in outputs if name != LABEL_SET]
        self._buckets = [int(size) for size in parameters.get("buckets", "").split(",") if size]
        self._run_rows = int(parameters["run_rows"])
        self._max_id = int(parameters.get("max_id", "0"))
        wanted = os.environ.get("INTERESTFLOW_ENGINE") or parameters["engine"]
        engine = choose_engine(wanted, Path("/proc/cpuinfo").read_text())
        version = Path(args["model_repository"], args["model_version"])
        self._label_set = label_set_number(version) if LABEL_SET in outputs else None
        self._engine = engine(str(version / "model.onnx"), self._outputs, int(parameters["threads"]))
        pb_utils.Logger.log_info(f"{args['model_name']} runs on {engine.__name__}")

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """One response per request, in order; a bad request fails alone."""
        responses: list[Any] = [None] * len(requests)
        batches: dict[int, Batch] = {}
        for index, request in enumerate(requests):
            try:
                length, arrays = self._read(request)
            except ValueError as error:
                responses[index] = pb_utils.InferenceResponse(
                    error=pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
                )
                continue
            batches.setdefault(length, Batch()).add(index, arrays)
        for batch in batches.values():
            for index, outputs in batch.answers(self._run(batch.inputs())):
                responses[index] = pb_utils.InferenceResponse(self._tensors(outputs))
        return responses

    def _tensors(self, outputs: Sequence[Array]) -> list[Any]:
        tensors = [pb_utils.Tensor(name, output) for name, output in zip(self._outputs, outputs, strict=True)]
        if self._label_set is not None:
            rows = np.full((len(outputs[0]), 1), self._label_set, dtype=np.int64)
            tensors.append(pb_utils.Tensor(LABEL_SET, rows))
        return tensors

    def _read(self, request: Any) -> tuple[int, dict[str, Array]]:
        """The request's bucket (0 if nothing is ragged) and its arrays."""
        arrays = {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self._inputs}
        if not self._buckets:
            return 0, arrays
        lengths = {array.shape[1] for array in arrays.values()}
        if len(lengths) != 1:
            raise ValueError(
                f"inputs have different lengths: {sorted(lengths)}; send one mask value per token"
            )
        for name, array in arrays.items():
            if array.size and (array.min() < 0 or array.max() > self._max_id):
                raise ValueError(
                    f"{name} has values outside 0 to {self._max_id}; use this version's tokenizer"
                )
        bucket = bucket_of(lengths.pop(), self._buckets)
        return bucket, {name: padded(array, bucket) for name, array in arrays.items()}

    def _run(self, arrays: Arrays) -> list[Array]:
        """All rows through the engine, in pieces."""
        rows = len(next(iter(arrays.values())))
        pieces = [
            self._engine.run({name: array[start : start + self._run_rows] for name, array in arrays.items()})
            for start in range(0, rows, self._run_rows)
        ]
        if len(pieces) == 1:
            return pieces[0]
        return [np.concatenate(outputs) for outputs in zip(*pieces, strict=True)]
