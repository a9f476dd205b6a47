"""A way to a broker on which a topic's produce requests can be held, while all else passes."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from stream.embedded.ports import LOOPBACK

_PRODUCE: Final = b"\0\0"
_CHUNK_BYTES: Final = 65_536


class ProduceGate:
    """Passes on what comes; the broker must advertise its port, or clients go around it.

    A request that is held goes with its connection: if the client ends that, it never arrives.
    """

    def __init__(self, port: int, broker_port: int) -> None:
        self._port, self._broker_port = port, broker_port
        self._topic: bytes | None = None
        self._open = asyncio.Event()
        self._open.set()
        self._server: asyncio.Server | None = None
        #: Requests that were held.
        self.held = 0

    @property
    def address(self) -> str:
        """``host:port`` for Kafka clients."""
        return f"{LOOPBACK}:{self._port}"

    def hold(self, topic: str) -> None:
        """Let no records of this topic through."""
        self._topic = topic.encode()
        self._open.clear()

    def release(self) -> None:
        """Let everything through, also what is held."""
        self._topic = None
        self._open.set()

    async def until_held(self) -> None:
        """A request stands before the gate."""
        while not self.held:
            await asyncio.sleep(0.05)

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop listening."""
        assert self._server is not None
        self.release()
        self._server.close()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        broker, to_broker = await asyncio.open_connection(LOOPBACK, self._broker_port)
        with suppress(asyncio.CancelledError):  # the end of the test
            await asyncio.gather(self._requests(client, to_broker), _answers(broker, to_client))
        to_client.transport.abort()
        to_broker.transport.abort()

    async def _requests(self, client: asyncio.StreamReader, to_broker: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                size = await client.readexactly(4)
                request = await client.readexactly(int.from_bytes(size))
                if self._topic is not None and request.startswith(_PRODUCE) and self._topic in request:
                    self.held += 1
                    await self._open.wait()
                    if client.at_eof():
                        break
                to_broker.write(size + request)
                await to_broker.drain()
        to_broker.transport.abort()


async def _answers(broker: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await broker.read(_CHUNK_BYTES):
            to_client.write(chunk)
            await to_client.drain()
    to_client.transport.abort()
