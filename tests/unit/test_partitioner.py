"""Keys go where the producers' clients put them."""

import pytest

from stream.partitioner import partitioner


@pytest.mark.parametrize(
    ("key", "partition"),
    [
        # Java: Utils.murmur2 of these is -973932308, -790332482 and 479470107; its sign bit is dropped
        (b"21", 1_173_551_340 % 6),
        (b"foobar", 1_357_151_166 % 6),
        (b"abc", 479_470_107 % 6),
    ],
)
def test_murmur2_is_that_of_java_clients(key: bytes, partition: int) -> None:
    assert partitioner("murmur2", 6)(key) == partition


@pytest.mark.parametrize(
    ("key", "partition"),
    [
        # The check value of CRC-32 is cbf43926; that of "foobar" is 9ef61f95 (librdkafka's own unit test, too).
        (b"123456789", 0xCBF43926 % 6),
        (b"foobar", 0x9EF61F95 % 6),
    ],
)
def test_crc32_is_that_of_librdkafka(key: bytes, partition: int) -> None:
    assert partitioner("crc32", 6)(key) == partition


@pytest.mark.parametrize("name", ["murmur2", "crc32"])
def test_one_partition_takes_every_key(name: str) -> None:
    partition_of = partitioner(name, 1)  # type: ignore[arg-type]

    assert {partition_of(str(user).encode()) for user in range(50)} == {0}
