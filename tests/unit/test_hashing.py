"""The hash that keys, ids and texts share with every other process and language."""

import pytest

from stream.hashing import hash64


@pytest.mark.parametrize(
    ("content", "digest"),
    [
        # coreutils: printf abc | b2sum -l 64
        (b"abc", "d8bb14d833d59559"),
        (b"", "e4a6a0577479b2b4"),
    ],
)
def test_it_is_blake2b_of_64_bits_read_little_endian(content: bytes, digest: str) -> None:
    assert hash64(content).to_bytes(8, "little").hex() == digest
