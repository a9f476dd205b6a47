"""A header name that is no text, through a real broker: the record is folded, and so is what comes after it."""

import asyncio
import signal
from pathlib import Path

from aiokafka import AIOKafkaProducer
from aiokafka.record.util import calc_crc32c

from stream.events import CLICK_TOPIC
from stream.partitioner import partitioner
from tests.behaviour_feed import PARTITIONS
from tests.brokers import Broker, recreate_topics
from tests.builders import NOW_MS, USER, event_value
from tests.worker_process import WorkerProcess, total

#: In a batch: where its checksum stands, and from where on it is taken.
_CRC_AT, _SUMMED_FROM = 17, 21


async def _send_two(bootstrap_servers: str) -> None:
    """Two clicks in one batch; the first has a header name of bytes that are no UTF-8."""
    home = partitioner("murmur2", PARTITIONS)(USER.encode())
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        batch = producer.create_batch()
        for event_id, headers in (("e1", [("spoilt", b"1")]), ("e2", [])):
            value = event_value(event_id=event_id)
            batch.append(key=USER.encode(), value=value, timestamp=NOW_MS, headers=headers)
        raw = bytearray(bytes(batch._build()).replace(b"spoilt", b"\xff\xfeoilt"))
        raw[_CRC_AT:_SUMMED_FROM] = calc_crc32c(bytes(raw[_SUMMED_FROM:])).to_bytes(4, "big")
        batch._buffer = raw
        await (await producer.send_batch(batch, CLICK_TOPIC, partition=home))


def test_a_header_name_that_is_no_text_stops_nothing(broker: Broker, tmp_path: Path) -> None:
    asyncio.run(recreate_topics(broker, "foreign"))
    asyncio.run(_send_two(broker.bootstrap_servers))

    worker = WorkerProcess(tmp_path, broker.bootstrap_servers, APP_ID="foreign", KAFKA__BROKER=broker.kind)
    with worker:
        samples = worker.until(lambda samples: total(samples, "events") >= 2)
        code = worker.end(signal.SIGTERM)

    assert samples[f"interestflow_events_total|accepted||{CLICK_TOPIC}"] == 2
    assert code == 0
