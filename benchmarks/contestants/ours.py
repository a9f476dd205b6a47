"""The real worker with its defaults, the model off or on; its own metrics say how many events it folded."""

import asyncio
from collections.abc import Awaitable, Callable, Sized
from pathlib import Path

from prometheus_client import Counter

from benchmarks.contestants.job import READY, Job, Stopwatch, job_from_command_line, say
from stream.kafka_settings import KafkaSettings
from stream.logs import configure_logs
from stream.setting_sections import HealthSettings, ModelSettings, StoreSettings
from stream.settings import Settings
from stream.worker import Worker

APP_ID = "bench-ours"
_POLL_SECONDS = 0.05


def worker_settings(job: Job) -> Settings:
    """The defaults, but for where the servers are and the virtual clock of the made-up events."""
    model = ModelSettings(enabled=False)
    if job.model_url:
        model = ModelSettings(grpc_url=job.model_url, repository=Path(job.model_repository))
    return Settings(
        app_id=APP_ID,
        virtual_time=True,
        log_level="ERROR",
        kafka=KafkaSettings(
            bootstrap_servers=job.bootstrap_servers, broker="tansu" if job.broker == "tansu" else "kafka"
        ),
        store=StoreSettings(directory=Path(job.directory)),
        model=model,
        health=HealthSettings(port=0),
    )


class TimedWorker:
    """A worker whose first bundle after the warm-up starts the watch."""

    def __init__(self, settings: Settings) -> None:
        self.worker = Worker(settings)
        self.watch = Stopwatch()
        self._armed = False
        self._handed_over = 0
        self._awaited = 0
        self._all_handed_over = asyncio.Event()
        self._fold: Callable[..., Awaitable[None]] = self.worker.folder.fold
        self.worker.folder.fold = self._timed  # type: ignore[method-assign]

    async def _timed(self, topic: str, partition: int, records: Sized, abandoned: Callable[[], bool]) -> None:
        if self._armed:
            self.watch.start()
        await self._fold(topic, partition, records, abandoned)
        self._handed_over += len(records)
        if self._handed_over >= self._awaited:
            self._all_handed_over.set()

    async def wait_for(self, events: int, running: "asyncio.Task[None]") -> None:
        """Until that many events are folded and durable; asking the metrics all the time would take a share of it."""
        self._awaited = events
        self._all_handed_over.clear()
        while self.folded < events:
            handed_over = asyncio.create_task(self._all_handed_over.wait())
            await asyncio.wait({running, handed_over}, return_when=asyncio.FIRST_COMPLETED)
            if running.done():
                await running
                raise SystemExit("the worker ended before its events")

    def arm(self) -> None:
        """From now on the watch counts."""
        self._armed = True

    @property
    def folded(self) -> int:
        """Events that are folded and durable."""
        return _total(self.worker.metrics.events, "outcome", ("accepted", "normalised"))

    @property
    def scored(self) -> int:
        """Users scored by the model."""
        return _total(self.worker.metrics.scored, "source", ("model",))

    @property
    def has_caught_up(self) -> bool:
        """Whether everybody who could be scored is."""
        return self.worker.score_service is None or len(self.worker.due) == 0


def _total(counter: Counter, label: str, values: tuple[str, ...]) -> int:
    samples = (sample for metric in counter.collect() for sample in metric.samples)
    return int(sum(s.value for s in samples if s.name.endswith("_total") and s.labels[label] in values))


async def _run(job: Job) -> None:
    timed = TimedWorker(worker_settings(job))
    running = asyncio.create_task(timed.worker.run())
    if job.warm_up_events:
        await timed.wait_for(job.warm_up_events, running)
        while not timed.has_caught_up:  # noqa: ASYNC110 - the due users have no event
            await asyncio.sleep(_POLL_SECONDS)
        timed.arm()
        say(READY)
    timed.arm()
    scored_before = timed.scored
    await timed.wait_for(job.warm_up_events + job.events, running)
    assert timed.worker.app is not None
    await timed.worker.app.consumer.commit()
    timed.watch.stop()
    folded = timed.folded - job.warm_up_events
    timed.watch.report(folded, scored=timed.scored - scored_before, due=len(timed.worker.due))


if __name__ == "__main__":
    configure_logs("ERROR")
    asyncio.run(_run(job_from_command_line()))
