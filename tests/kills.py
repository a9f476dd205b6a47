"""A training that is killed after some steps, as a machine that goes away kills it."""

from collections.abc import Callable


class KilledError(Exception):
    """The end of it."""


def killed_after(steps: int) -> Callable[[int], None]:
    """What is told of finished steps, and kills at that many."""
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        if done == steps:
            raise KilledError

    return advance
