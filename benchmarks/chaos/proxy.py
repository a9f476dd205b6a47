"""A TCP proxy in front of a broker: connections can be cut, refused and slowed down."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

from stream.embedded.ports import LOOPBACK

_CHUNK_BYTES: Final = 65_536


class Proxy:
    """Passes on what comes; the broker must advertise the proxy's port, or clients go around it."""

    def __init__(self, port: int, broker_port: int) -> None:
        self._port = port
        self._broker_port = broker_port
        #: How long each chunk is held back, either way.
        self.delay_seconds = 0.0
        self.refusing = False
        self.connections = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def __aenter__(self) -> Self:
        """Listen."""
        self._server = await asyncio.start_server(self._serve, LOOPBACK, self._port)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut all and stop listening."""
        assert self._server is not None
        self._server.close()
        self.cut()

    def cut(self) -> None:
        """Close every connection as it is, in the middle of whatever is under way."""
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        if self.refusing:
            to_client.transport.abort()
            return
        try:
            broker, to_broker = await asyncio.open_connection(LOOPBACK, self._broker_port)
        except OSError:
            to_client.transport.abort()
            return
        self.connections += 1
        ends = {to_client, to_broker}
        self._writers |= ends
        try:
            # The end of the run cancels what is still open.
            with suppress(asyncio.CancelledError):
                await asyncio.gather(self.requests(client, to_broker), self._pump(broker, to_client))
        finally:
            self._writers -= ends
            for writer in ends:
                writer.transport.abort()

    async def requests(self, client: asyncio.StreamReader, to_broker: asyncio.StreamWriter) -> None:
        """Pass on what a client asks, until one side is gone."""
        await self._pump(client, to_broker)

    async def _pump(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while chunk := await source.read(_CHUNK_BYTES):
                if self.delay_seconds:
                    await asyncio.sleep(self.delay_seconds)
                target.write(chunk)
                await target.drain()
        # One side is gone, so the other one must see it, too.
        target.transport.abort()
