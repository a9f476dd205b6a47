"""Triton's repository control: what is served, and loading models; only for whoever holds its key."""

from typing import Any, Final

from tritonclient.grpc import aio
from tritonclient.utils import InferenceServerException

from stream.model.access import TritonAccess
from stream.model.failures import FailureKind, ModelCallError
from stream.model.port import ModelPort
from stream.model.probe import probe
from stream.model.repository import ModelBundle

#: Loading a model takes 2 s here; one with a TensorRT engine takes minutes.
_LOAD_SECONDS: Final = 600.0
_ASK_SECONDS: Final = 2.0
_TEXT_CHARS: Final = 300
_CHANNEL: Final = [("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)]


class RepositoryControl:
    """Opens a connection for each request: they are rare, and none must wait behind inferences.

    Args:
        url: ``host:port`` of Triton's gRPC service.
        access: TLS, and the key of what ``--grpc-restricted-protocol`` closes.
    """

    def __init__(self, url: str, access: TritonAccess) -> None:
        self._url = url
        self._access = access

    def _client(self) -> Any:
        return aio.InferenceServerClient(self._url, channel_args=_CHANNEL, **self._access.tls)

    async def is_live(self) -> bool:
        """Whether the server itself answers; says nothing about its models."""
        client = self._client()
        try:
            return bool(await client.is_server_live(client_timeout=_ASK_SECONDS))
        except InferenceServerException:
            return False
        finally:
            await client.close()

    async def load(self, model: str) -> None:
        """Load what the repository holds of it now; versions that are served and unchanged go on.

        Raises:
            ModelCallError: Triton refused or did not answer.
        """
        await self._ask(model, "load_model")

    async def reload(self, model: str) -> None:
        """Load it anew though nothing changed, for its process is dead; no version of it is served meanwhile.

        Raises:
            ModelCallError: As ``load``.
        """
        # A load alone is a no-op where Triton sees no changed file, and believes the dead process to live.
        await self._ask(model, "unload_model")
        await self._ask(model, "load_model")

    async def _ask(self, model: str, request: str) -> None:
        client = self._client()
        try:
            call: Any = getattr(client, request)
            await call(model, headers=dict(self._access.headers), client_timeout=_LOAD_SECONDS)
        except InferenceServerException as error:
            raise ModelCallError(
                model,
                FailureKind.UNAVAILABLE,
                f"{self._url}, {request}: {str(error.message())[:_TEXT_CHARS]!r}",
                cure="check INTERESTFLOW_MODEL__RESTRICTED_KEY against Triton's own, and see Triton's log",
            ) from error
        finally:
            await client.close()


async def require_served(model: ModelPort, bundle: ModelBundle, control: RepositoryControl | None) -> None:
    """Pass if Triton answers with the bundle's versions; it is told to load them if it may be.

    Args:
        model: Asks for those versions.
        bundle: Names them.
        control: None: it may not.

    Raises:
        ModelUnavailableError: It does not.
    """
    problem = await probe(model, bundle.labels)
    if problem is None:
        return
    is_missing = isinstance(problem, ModelCallError) and problem.kind is FailureKind.NOT_FOUND
    if control is None or not is_missing:
        raise problem
    for version in (bundle.encoder, bundle.head):
        await control.load(version.name)
    problem = await probe(model, bundle.labels)
    if problem is not None:
        raise problem
