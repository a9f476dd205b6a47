"""The bare loop: no framework, no recovery, no order guard; the ceiling of this job with this client in Python."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from benchmarks.contestants.job import Job, SharedFold, Stopwatch, job_from_command_line
from stream.events import BEHAVIOUR_TOPICS
from stream.short_fetches import FETCH_MAX_WAIT_MS
from stream.state import encode_state
from stream.topic_specs import USER_BEHAVIOUR, changelog_topic

_COMMIT_SECONDS = 1.0
_CHANGELOG = changelog_topic("bench-loop", USER_BEHAVIOUR)


class Loop:
    """getmany, fold, changelog of the users touched, and a commit each second."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._shared = SharedFold()
        self._watch = Stopwatch()
        self._pending: list[asyncio.Future[Any]] = []
        self._consumer = AIOKafkaConsumer(
            *BEHAVIOUR_TOPICS,
            bootstrap_servers=job.bootstrap_servers,
            group_id="bench-loop",
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=10_000,
            rebalance_timeout_ms=12_000,
            heartbeat_interval_ms=1_000,
            max_partition_fetch_bytes=4 * 1024 * 1024,
            fetch_max_wait_ms=FETCH_MAX_WAIT_MS if job.broker == "tansu" else 500,
        )
        self._producer = AIOKafkaProducer(
            bootstrap_servers=job.bootstrap_servers, acks="all", max_batch_size=900_000
        )

    async def run(self) -> None:
        """Until all events are committed."""
        await self._producer.start()
        await self._consumer.start()
        done, committed_at = 0, time.monotonic()
        while done < self._job.events:
            fetched = await self._consumer.getmany(timeout_ms=1000, max_records=16_000)
            for tp, records in fetched.items():
                self._watch.start()
                await self._fold(tp.topic, tp.partition, records)
                done += len(records)
            if time.monotonic() - committed_at > _COMMIT_SECONDS:
                await self._commit()
                committed_at = time.monotonic()
        await self._commit()
        self._watch.stop()
        self._watch.report(done)

    async def _fold(self, topic: str, partition: int, records: Iterable[Any]) -> None:
        place = topic, partition
        touched = {
            record.key: self._shared.fold(place, record.offset, record.timestamp, record.key, record.value)
            for record in records
        }
        batch = self._producer.create_batch()
        for key, state in touched.items():
            value = encode_state(state)
            if batch.append(key=key, value=value, timestamp=None) is None:
                await self._send(batch, partition)
                batch = self._producer.create_batch()
                batch.append(key=key, value=value, timestamp=None)
        await self._send(batch, partition)

    async def _send(self, batch: Any, partition: int) -> None:
        self._pending.append(await self._producer.send_batch(batch, _CHANGELOG, partition=partition))

    async def _commit(self) -> None:
        await asyncio.gather(*self._pending)
        self._pending.clear()
        await self._consumer.commit()


async def _run(job: Job) -> None:
    await Loop(job).run()


if __name__ == "__main__":
    asyncio.run(_run(job_from_command_line()))
