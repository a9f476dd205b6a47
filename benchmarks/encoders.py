"""Speed of an encoder alone, by engine, without Triton: CPU milliseconds per text on one thread.

    python -m benchmarks.encoders [--json FILE] [--encoder NAME=model.onnx …] [--repeats 15]

Every encoder runs on every engine in turns; medians of the repeats. Texts are the names of the shipped interests, padded
as the worker pads them. It needs the trainer's environment (onnxruntime, openvino). See docs/models.md.
"""

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray

from benchmarks.machine import machine, others_cores, read_cpu, versions
from benchmarks.report import keep, ratio, table
from benchmarks.servers import REPOSITORY
from stream.model.repository import ModelBundle, load_bundle
from stream.model.tokens import Tokeniser

Inputs = dict[str, NDArray[Any]]
Run = Callable[[Inputs], Any]

SHIPPED: Final = "shipped"
#: As it is served where a CPU has no AMX.
SERVED: Final = "ONNX Runtime, fp32"
_ROWS: Final = (1, 16)
_DISTRIBUTIONS: Final = ("onnxruntime", "openvino", "numpy")
_INPUTS: Final = ("INPUT_IDS", "ATTENTION_MASK")


def onnx_runtime(path: Path, *, expand: bool) -> Run:
    """ONNX Runtime; weights expanded at load, or int8 as they are stored."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.disable_quant_qdq", "1" if expand else "0")
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda inputs: session.run(None, inputs)


def open_vino(path: Path, precision: str, *, quantise: bool = False) -> Run:
    """OpenVINO in a precision; activations rounded to int8 too, if it is told to."""
    settings = {
        "INFERENCE_NUM_THREADS": 1,
        "NUM_STREAMS": "1",
        "ENABLE_CPU_PINNING": False,
        "INFERENCE_PRECISION_HINT": precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "32" if quantise else "0",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    infer: Run = compiled.create_infer_request().infer
    return infer


def engines(path: Path) -> Iterator[tuple[str, Run]]:
    """Every way to run a file on this CPU."""
    yield SERVED, onnx_runtime(path, expand=True)
    yield "ONNX Runtime, int8 weights kept", onnx_runtime(path, expand=False)
    yield "OpenVINO, fp32", open_vino(path, "f32")
    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        yield "OpenVINO, bf16", open_vino(path, "bf16")
        yield "OpenVINO, bf16 and int8 activations", open_vino(path, "bf16", quantise=True)


def requests(bundle: ModelBundle, rows: int) -> list[Inputs]:
    """Sixteen texts or more, so many in a request, of the shortest length."""
    tokeniser = Tokeniser(bundle.tokenizer_path, bundle.max_tokens, bundle.buckets)
    names = sorted((interest.name for interest in bundle.interests), key=len)[: 4 * max(_ROWS)]
    batches = [tokeniser.batch(names[start : start + rows]) for start in range(0, len(names), rows)]
    return [dict(zip(_INPUTS, map(np.asarray, batch), strict=True)) for batch in batches]


def measure(
    runs: dict[tuple[str, str], Run], asked: list[Inputs], repeats: int
) -> dict[tuple[str, str], float]:
    """Median CPU milliseconds per text of each, in turns; the first turn warms up."""
    texts = sum(len(inputs[_INPUTS[0]]) for inputs in asked)
    spent: dict[tuple[str, str], list[float]] = {name: [] for name in runs}
    for _ in range(repeats + 1):
        for name, run in runs.items():
            before = time.process_time()
            for inputs in asked:
                run(inputs)
            spent[name].append((time.process_time() - before) * 1000.0 / texts)
    return {name: statistics.median(own[1:]) for name, own in spent.items()}


def figures(encoders: dict[str, Path], repeats: int) -> dict[str, Any]:
    """Milliseconds and ratios by encoder, engine and rows of a request."""
    bundle = load_bundle(REPOSITORY)
    encoders = {SHIPPED: REPOSITORY / bundle.encoder.name / bundle.encoder.version / "model.onnx", **encoders}
    runs = {(name, engine): run for name, path in encoders.items() for engine, run in engines(path)}
    before = read_cpu()
    found = {rows: measure(runs, requests(bundle, rows), repeats) for rows in _ROWS}
    told: dict[str, Any] = {
        "bytes": {name: path.stat().st_size for name, path in encoders.items()},
        "others_cores": round(others_cores(before, read_cpu()), 2),
        "encoders": {name: {} for name in encoders},
    }
    for name, engine in runs:
        told["encoders"][name][engine] = {
            f"rows_{rows}": {
                "cpu_ms_per_text": round(medians[name, engine], 3),
                "times_shipped": ratio(medians[SHIPPED, SERVED], medians[name, engine]),
            }
            for rows, medians in found.items()
        }
    return told


def show(told: dict[str, Any]) -> None:
    """Print the table."""
    rows = [
        (name, engine, *(value for found in by_rows.values() for value in found.values()))
        for name, by_engine in told["encoders"].items()
        for engine, by_rows in by_engine.items()
    ]
    header = (
        "encoder",
        "engine",
        *(f"{what}, {count} rows" for count in _ROWS for what in ("CPU ms/text", "times as fast")),
    )
    print(table(header, rows))
    print(f"others used {told['others_cores']} cores", flush=True)


def main() -> None:
    """Run the benchmark from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument(
        "--encoder", action="append", default=[], metavar="NAME=FILE", help="another ONNX file"
    )
    parser.add_argument("--repeats", type=int, default=15)
    asked = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    named = dict(given.split("=", 1) for given in asked.encoder)
    told: dict[str, Any] = {"machine": machine(), "versions": versions(_DISTRIBUTIONS)}
    told |= figures({name: Path(path) for name, path in named.items()}, asked.repeats)
    show(told)
    keep(told, asked.json)


if __name__ == "__main__":
    main()
