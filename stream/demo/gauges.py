"""Asks the worker for its metrics, over and over."""

from collections import deque
from typing import Final, Self

from aiohttp import ClientError, ClientSession, ClientTimeout

from stream.clock import Clock
from stream.demo.samples import NOTHING, Samples
from stream.embedded.ports import LOOPBACK

#: What "now" means on the screen.
_RECENT_SECONDS: Final = 10.0
_TIMEOUT: Final = ClientTimeout(total=5.0)


class Gauges:
    """The worker's latest samples and those of some seconds ago."""

    def __init__(self, port: int, clock: Clock) -> None:
        self._url = f"http://{LOOPBACK}:{port}/metrics"
        self._clock = clock
        self._session: ClientSession | None = None
        #: (monotonic seconds, samples), oldest first.
        self._recent: deque[tuple[float, Samples]] = deque()

    async def __aenter__(self) -> Self:
        """Open the connection."""
        self._session = ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it."""
        if self._session is not None:
            await self._session.close()

    @property
    def latest(self) -> Samples:
        """Of the last scrape that was answered."""
        return self._recent[-1][1] if self._recent else NOTHING

    @property
    def earlier(self) -> Samples:
        """Of the oldest scrape that still counts as recent."""
        return self._recent[0][1] if self._recent else NOTHING

    async def start_anew(self) -> Samples:
        """Ask now, and count from here on."""
        samples = await self.scrape()
        while len(self._recent) > 1:
            self._recent.popleft()
        return samples

    async def scrape(self) -> Samples:
        """Ask now; the last samples again if the worker does not answer, which its process tells better."""
        assert self._session is not None
        try:
            async with self._session.get(self._url) as answer:
                samples = Samples.parse(await answer.text())
        except (ClientError, TimeoutError):
            return self.latest
        now = self._clock.monotonic_seconds()
        self._recent.append((now, samples))
        while now - self._recent[0][0] > _RECENT_SECONDS:
            self._recent.popleft()
        return samples

    def rate(self, counter: str) -> float:
        """How fast a counter rose lately, per second."""
        return self._per_second(self.earlier.total(counter), self.latest.total(counter))

    def rates(self, counter: str, label: str) -> dict[str, float]:
        """The same by the value of a label."""
        earlier, latest = self.earlier.by_label(counter, label), self.latest.by_label(counter, label)
        return {name: self._per_second(earlier.get(name, 0.0), value) for name, value in latest.items()}

    def _per_second(self, earlier: float, latest: float) -> float:
        if len(self._recent) < 2:  # one scrape has no rate
            return 0.0
        return max(0.0, latest - earlier) / (self._recent[-1][0] - self._recent[0][0])
