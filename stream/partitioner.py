"""Which partition a user belongs to; must be what the producers use."""

import zlib
from collections.abc import Callable
from typing import Literal

from aiokafka.partitioner import murmur2

Partitioner = Callable[[bytes], int]


def partitioner(name: Literal["murmur2", "crc32"], partitions: int) -> Partitioner:
    """The partition of a key: murmur2 as Java and aiokafka clients, or crc32 as librdkafka's ``consistent``."""
    if name == "murmur2":
        return lambda key: int((murmur2(key) & 0x7FFFFFFF) % partitions)
    return lambda key: zlib.crc32(key) % partitions
