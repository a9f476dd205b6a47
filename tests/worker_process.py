"""A real worker in a process of its own, and what it leaves behind on the broker."""

import asyncio
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from stream.clock import pause
from stream.embedded.ports import free_ports
from stream.embedded.tansu_highwater import true_end_offsets

REPOSITORY = Path(__file__).parent.parent
_POLL_SECONDS = 0.1


class WorkerProcess:
    """``interestflow worker`` with the given settings; a context manager that ends it if the test does not."""

    def __init__(self, directory: Path, bootstrap_servers: str, **settings: str) -> None:
        self.directory = directory
        self.port = free_ports(1)[0]
        self._runs = 0
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("INTERESTFLOW_")},
            "PYTHONPATH": str(REPOSITORY),
            "INTERESTFLOW_KAFKA__BOOTSTRAP_SERVERS": bootstrap_servers,
            "INTERESTFLOW_HEALTH__PORT": str(self.port),
            "INTERESTFLOW_STORE__DIRECTORY": str(directory / "state"),
            "INTERESTFLOW_VIRTUAL_TIME": "true",
            "INTERESTFLOW_MODEL__ENABLED": "false",
            "INTERESTFLOW_KAFKA__SESSION_TIMEOUT_SECONDS": "6",
            "INTERESTFLOW_KAFKA__REBALANCE_TIMEOUT_SECONDS": "8",
            **{f"INTERESTFLOW_{name}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    @property
    def log(self) -> str:
        """What the last run wrote to standard error."""
        return (self.directory / f"worker-{self.port}-{self._runs}.log").read_text(errors="replace")

    def start(self) -> None:
        """Start it; see ``until`` for waiting."""
        self._runs += 1
        log = self.directory / f"worker-{self.port}-{self._runs}.log"
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "stream.cli", "worker"],
                cwd=self.directory,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    def end(self, number: signal.Signals) -> int:
        """Send a signal and give the exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return self._process.wait(timeout=40)

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal and don't wait."""
        assert self._process is not None
        self._process.send_signal(number)

    @property
    def pid(self) -> int:
        """Of the last run's process."""
        assert self._process is not None
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """The code of a process that ended, None while it runs."""
        return None if self._process is None else self._process.poll()

    def wait(self) -> int:
        """The exit code of a worker that ends by itself."""
        assert self._process is not None
        return self._process.wait(timeout=60)

    def scrape(self) -> dict[str, float]:
        """Samples by name and labels, ``{}`` while it does not answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics", timeout=5) as answer:
                text = answer.read().decode()
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return {}
        return {
            sample.name + "".join(f"|{sample.labels[name]}" for name in sorted(sample.labels)): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }

    def readiness(self) -> list[str]:
        """What ``/readyz`` says is missing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/readyz", timeout=5) as answer:
                body = answer.read()
        except urllib.error.HTTPError as error:
            body = error.read()
        return list(orjson.loads(body)["problems"])

    def until(
        self, condition: Callable[[Mapping[str, float]], bool], *, polls: int = 600
    ) -> dict[str, float]:
        """Wait for a condition on the metrics and give them.

        Raises:
            AssertionError: With the log's end, if the worker ended or the condition did not come.
        """
        samples: dict[str, float] = {}
        for _ in range(polls):
            assert self._process is not None
            if self._process.poll() is not None:
                raise AssertionError(f"the worker ended with {self._process.returncode}: {self.log[-3000:]}")
            samples = self.scrape()
            if samples and condition(samples):
                return samples
            pause(_POLL_SECONDS)
        shown = {name: value for name, value in samples.items() if "events_total" in name or "due" in name}
        raise AssertionError(f"never came: {shown} {self.log[-3000:]}")


def total(samples: Mapping[str, float], metric: str) -> float:
    """The sum of a counter over its labels."""
    return sum(
        value for name, value in samples.items() if name.split("|")[0] == f"interestflow_{metric}_total"
    )


async def read_topic(bootstrap_servers: str, topic: str, partitions: int) -> list[Any]:
    """All records of a topic, by partition and offset."""
    tps = [TopicPartition(topic, partition) for partition in range(partitions)]
    ends = await true_end_offsets(bootstrap_servers, tps)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap_servers, enable_auto_commit=False)
    await consumer.start()
    try:
        consumer.assign(tps)
        await consumer.seek_to_beginning(*tps)
        records: list[Any] = []
        async with asyncio.timeout(60):
            while any([await consumer.position(tp) < ends[tp] for tp in tps]):
                for batch in (await consumer.getmany(timeout_ms=200)).values():
                    records.extend(batch)
        return sorted(records, key=lambda record: (record.partition, record.offset))
    finally:
        await consumer.stop()


def latest_by_key(records: list[Any]) -> dict[bytes, bytes]:
    """What a compacted topic says in the end."""
    latest: dict[bytes, bytes | None] = {record.key: record.value for record in records}
    return {key: value for key, value in latest.items() if value is not None}


def loads(value: bytes) -> dict[str, Any]:
    """A record's JSON object."""
    document = orjson.loads(value)
    assert isinstance(document, dict)
    return document
