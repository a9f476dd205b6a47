"""What a real Triton says of the version, asked over gRPC."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np
import tritonclient.grpc
from numpy.typing import NDArray

from stream.embedded.triton_server import BundledTriton, TritonOptions
from trainer.contract import ENCODER, HEAD

_KINDS: Final = {"int32": "INT32", "float32": "FP32"}


class ServedModels:
    """Both models of a repository behind a running Triton."""

    def __init__(self, url: str) -> None:
        self._client = tritonclient.grpc.InferenceServerClient(url)

    def run(self, model: str, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """One request, its outputs by name."""
        tensors = []
        for name, array in inputs.items():
            tensor = tritonclient.grpc.InferInput(name, list(array.shape), _KINDS[str(array.dtype)])
            tensor.set_data_from_numpy(np.ascontiguousarray(array))
            tensors.append(tensor)
        answer = self._client.infer(model, tensors)
        names = [output.name for output in answer.get_response().outputs]
        return {name: answer.as_numpy(name) for name in names}

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


@contextmanager
def served(repository: Path, stub_python: Path, engine: str = "fp32") -> Iterator[ServedModels]:
    """Start the bundled Triton on a repository, loopback only; the engine goes before the configured one."""
    options = TritonOptions(environment={"INTERESTFLOW_ENGINE": engine, "OMP_NUM_THREADS": "1"})
    with BundledTriton(repository, stub_python, models=(ENCODER, HEAD), options=options) as triton:
        models = ServedModels(triton.grpc_url)
        try:
            yield models
        finally:
            models.close()
