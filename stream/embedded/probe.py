"""Whether a Kafka broker on a plain port answers, without a client or an event loop."""

import socket
import struct

_METADATA_KEY = 3
_METADATA_VERSION = 2  # the oldest with the cluster id; every broker since 0.10.1 still answers it
_CORRELATION_ID = 1
_CLIENT_ID = b"interestflow-probe"


def probe_cluster_id(host: str, port: int, *, timeout_seconds: float = 1.0) -> str | None:
    """Cluster id that the broker names in its Metadata, or None while it doesn't answer with a broker list.

    Blocks for at most about the timeout. Only for PLAINTEXT listeners.
    Source: Kafka protocol guide, Metadata v2.
    """
    # An empty topic array asks for no topics: naming one would create it on some brokers.
    body = (
        struct.pack(">hhih", _METADATA_KEY, _METADATA_VERSION, _CORRELATION_ID, len(_CLIENT_ID)) + _CLIENT_ID
    )
    body += struct.pack(">i", 0)
    try:
        with socket.create_connection((host, port), timeout_seconds) as sock:
            sock.settimeout(timeout_seconds)
            sock.sendall(struct.pack(">i", len(body)) + body)
            (size,) = struct.unpack(">i", _read(sock, 4))
            return _cluster_id(_read(sock, size))
    except (OSError, EOFError, struct.error):
        return None


def _read(sock: socket.socket, size: int) -> bytes:
    read = bytearray()
    while len(read) < size:
        part = sock.recv(size - len(read))
        if not part:
            raise EOFError
        read += part
    return bytes(read)


def _cluster_id(response: bytes) -> str | None:
    """Cluster id of a Metadata v2 response; None if it lists no broker yet."""
    brokers, at = struct.unpack_from(">i", response, 4)[0], 8
    for _ in range(brokers):
        _host, at = _string(response, at + 4)
        _rack, at = _string(response, at + 4)
    cluster_id, _at = _string(response, at)
    return cluster_id if brokers > 0 else None


def _string(response: bytes, at: int) -> tuple[str | None, int]:
    (size,) = struct.unpack_from(">h", response, at)
    start = at + 2
    return (None, start) if size < 0 else (response[start : start + size].decode(), start + size)
