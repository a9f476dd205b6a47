"""A gRPC server with Triton's protocol that answers as a test tells it: real wire, no Triton."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, NamedTuple, Self

import grpc
import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import service_pb2, service_pb2_grpc

from stream.model.repository import ENCODER

Tensors = dict[str, NDArray[Any]]


class Refusal(NamedTuple):
    """A status instead of an answer."""

    code: grpc.StatusCode
    text: str


class Asked(NamedTuple):
    """One request as it came in."""

    model: str
    version: str
    datatypes: dict[str, str]
    tensors: Tensors


class ScriptedTriton(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc] # untyped library
    """Answers each request with the next step of ``script``, and rightly once that is used up.

    A step is a ``Refusal``, tensors to answer with instead of the right ones, or None for the right answer.
    After ``hold`` requests wait until ``release``; ``given_up`` counts those that the client gave up meanwhile.
    """

    def __init__(self, labels: int, dimensions: int) -> None:
        self.script: list[Refusal | Tensors | None] = []
        self.asked: list[Asked] = []
        self.given_up = 0
        self.url = ""
        self._moved = asyncio.Event()
        self._labels, self._dimensions = labels, dimensions
        self._answering = asyncio.Event()
        self._answering.set()
        self._server = grpc.aio.server()

    def hold(self) -> None:
        """From now on requests wait."""
        self._answering.clear()

    def release(self) -> None:
        """Requests go on."""
        self._answering.set()

    async def until_asked(self, times: int) -> None:
        """Wait for so many requests in all."""
        await self._until(lambda: len(self.asked) >= times)

    async def until_given_up(self, times: int) -> None:
        """Wait until the client has given up so many in all."""
        await self._until(lambda: self.given_up >= times)

    async def __aenter__(self) -> Self:
        """Listen on a free loopback port."""
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.url = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        await self._server.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop whatever is under way."""
        await self._server.stop(grace=None)

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802 - the protocol's name
        """Triton's inference call."""
        asked = _asked(request)
        self.asked.append(asked)
        self._moved.set()
        try:
            await self._answering.wait()
        except asyncio.CancelledError:
            self.given_up += 1
            self._moved.set()
            raise
        step = self.script.pop(0) if self.script else None
        if isinstance(step, Refusal):
            return await context.abort(step.code, step.text)
        return _response(request, self._right(asked) if step is None else step)

    async def _until(self, condition: Callable[[], bool]) -> None:
        while not condition():
            self._moved.clear()
            await self._moved.wait()

    def _right(self, asked: Asked) -> Tensors:
        if asked.model == ENCODER:
            # The vector points where the first word's token id says.
            first = asked.tensors["INPUT_IDS"][:, 1]
            return {"VECTOR": np.eye(self._dimensions, dtype=np.float32)[first % self._dimensions]}
        rows = len(asked.tensors["USER"])
        return {
            "SCORES": np.repeat(asked.tensors["USER"][:, :1], self._labels, axis=1),
            "INTENT": np.full((rows, 3), 0.5, dtype=np.float32),
            "USER_VECTOR": asked.tensors["WINDOW"][:, 1],
        }


def _asked(request: Any) -> Asked:
    dtypes = {"INT32": np.int32, "FP32": np.float32}
    tensors = {
        given.name: np.frombuffer(raw, dtype=dtypes[given.datatype]).reshape(given.shape)
        for given, raw in zip(request.inputs, request.raw_input_contents, strict=True)
    }
    datatypes = {given.name: given.datatype for given in request.inputs}
    return Asked(request.model_name, request.model_version, datatypes, tensors)


def _response(request: Any, tensors: Tensors) -> Any:
    response = service_pb2.ModelInferResponse(model_name=request.model_name)
    for name, tensor in tensors.items():
        response.outputs.add(name=name, datatype="FP32", shape=tensor.shape)
        response.raw_output_contents.append(tensor.astype(np.float32).tobytes())
    return response
