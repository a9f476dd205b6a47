"""One gRPC connection to a Triton server, and one inference on it."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from tritonclient.grpc import InferInput, aio
from tritonclient.utils import InferenceServerException

from stream.model.access import OPEN, TritonAccess
from stream.model.answers import Answer
from stream.model.failures import FailureKind, ModelCallError, classify
from stream.model.repository import ModelVersion

_CHANNEL: Final = [
    # gRPC's own back-off grows to 2 min: the worker would stay without a model long after Triton is back.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
    # A server that vanished without a word is noticed by unanswered pings. It must allow them:
    # tritonserver --grpc-http2-min-recv-ping-interval-without-data=5000.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # Triton stands beside the worker; a proxy meant for the outer world only blocks the way to it.
    ("grpc.enable_http_proxy", 0),
    # The back-off of another client of this process is not ours.
    ("grpc.use_local_subchannel_pool", 1),
]
Tensors = Mapping[str, NDArray[Any]]
#: Of the server's text; a python model's traceback is in its own log.
_TEXT_CHARS: Final = 300
_DATATYPES: Final = {"int32": "INT32", "float32": "FP32"}


class TritonConnection:
    """Connects at the first call, and again by itself after a loss; for one event loop.

    Args:
        url: ``host:port`` of Triton's gRPC service.
        access: TLS and keys.
    """

    def __init__(self, url: str, access: TritonAccess = OPEN) -> None:
        self._url = url
        self._access = access
        self._client: Any = None
        self._closed = False

    async def infer(self, model: ModelVersion, tensors: Tensors, deadline_seconds: float) -> Answer:
        """The server's answer, unchecked. Cancelling the caller cancels the call on the server.

        Raises:
            ModelCallError: There was none within the deadline.
        """
        if self._closed:
            raise self._gone(model)
        if self._client is None:
            # Here and not before: gRPC binds a channel to the loop that runs as it is made.
            self._client = aio.InferenceServerClient(self._url, channel_args=_CHANNEL, **self._access.tls)
        inputs = [_input(name, tensor) for name, tensor in tensors.items()]
        try:
            answer: Answer = await self._client.infer(
                model.name,
                inputs,
                model_version=model.version,
                client_timeout=max(deadline_seconds, 0.001),
                headers=dict(self._access.headers),
            )
        except InferenceServerException as error:
            raise self._failed(model, error) from error
        except asyncio.CancelledError as error:
            # Closing the channel also ends a call with this error, though no one cancelled the caller.
            task = asyncio.current_task()
            if self._closed and task is not None and not task.cancelling():
                raise self._gone(model) from error
            raise
        return answer

    async def close(self) -> None:
        """Close it for good; calls under way and later ones fail as unavailable."""
        self._closed = True
        if self._client is not None:
            await self._client.close()

    def _failed(self, model: ModelVersion, error: InferenceServerException) -> ModelCallError:
        status = str(error.status()).removeprefix("StatusCode.")
        text = str(error.message())
        kind, is_passing = classify(status, text)
        detail = f"{self._url}, version {model.version}: {status} {text[:_TEXT_CHARS]!r}"
        return ModelCallError(model.name, kind, detail, is_passing=is_passing)

    @staticmethod
    def _gone(model: ModelVersion) -> ModelCallError:
        return ModelCallError(
            model.name,
            FailureKind.UNAVAILABLE,
            "this client was closed",
            cure="make a new one to go on",
        )


def _input(name: str, tensor: NDArray[Any]) -> InferInput:
    given = InferInput(name, tensor.shape, _DATATYPES[str(tensor.dtype)])
    given.set_data_from_numpy(np.ascontiguousarray(tensor))
    return given
