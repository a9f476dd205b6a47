"""Loopback ports for child servers."""

import socket
from contextlib import ExitStack

from stream.errors import EmbeddedServerError

LOOPBACK = "127.0.0.1"


def free_ports(count: int) -> tuple[int, ...]:
    """That many distinct free TCP ports of the loopback; free a moment ago, so use them at once."""
    with ExitStack() as held:
        # All are held open together: closing one before asking for the next may give it twice.
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for sock in sockets:
            sock.bind((LOOPBACK, 0))
        return tuple(int(sock.getsockname()[1]) for sock in sockets)


def require_free_port(port: int, *, server: str) -> None:
    """Pass if a server could listen on that loopback port now.

    Raises:
        EmbeddedServerError: something listens there.
    """
    with socket.socket() as sock:
        # Servers set this too; without it a port in TIME_WAIT would look taken.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((LOOPBACK, port))
        except OSError as error:
            raise EmbeddedServerError(
                f"port {port} of {LOOPBACK} is taken, so {server} can't listen on it ({error.strerror}): "
                f"stop the program that `ss -ltnp 'sport = :{port}'` shows, or leave the port out to get a free one"
            ) from error
