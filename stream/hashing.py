"""Stable 64-bit hashes: the same in every process, release and language that has BLAKE2b."""

from hashlib import blake2b


def hash64(content: bytes) -> int:
    """An unsigned 64-bit BLAKE2b, read little-endian."""
    return int.from_bytes(blake2b(content, digest_size=8).digest(), "little")
