"""A way to a broker on which a topic's produce requests can be held, while all else passes."""

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final

from benchmarks.chaos.proxy import Proxy
from stream.embedded.ports import LOOPBACK

_PRODUCE: Final = b"\0\0"


class ProduceGate(Proxy):
    """A proxy that can hold produce requests.

    A request that is held goes with its connection: if the client ends that, it never arrives.
    """

    def __init__(self, port: int, broker_port: int) -> None:
        super().__init__(port, broker_port)
        self.address = f"{LOOPBACK}:{port}"
        self._topic: bytes | None = None
        self._open = asyncio.Event()
        self._open.set()
        #: Requests that were held.
        self.held = 0

    def hold(self, topic: str) -> None:
        """Let no records of this topic through."""
        self._topic = topic.encode()
        self._open.clear()

    def let_others_pass(self) -> None:
        """Hold no more; what is held stays so."""
        self._topic = None

    def release(self) -> None:
        """Let everything through, also what is held."""
        self._topic = None
        self._open.set()

    async def until_held(self) -> None:
        """A request stands before the gate."""
        while not self.held:
            await asyncio.sleep(0.05)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let everything through, cut all and stop listening."""
        self.release()
        await super().__aexit__(kind, error, trace)

    async def requests(self, client: asyncio.StreamReader, to_broker: asyncio.StreamWriter) -> None:
        """Pass on one request after the other, those that are held later."""
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
