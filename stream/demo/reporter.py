"""The two faces of the demo, screen and lines, share this shape."""

from contextlib import AbstractContextManager
from typing import Protocol

from stream.demo.figures import Summary, View


class Reporter(Protocol):
    """Tells a person what goes on."""

    def step(self, text: str) -> AbstractContextManager[None]:
        """Something of the start that takes a while; its end is told with the time it took."""
        ...

    def progress(self, text: str, done: float) -> None:
        """How far a long part is, from 0 to 1."""
        ...

    def show(self, view: View) -> None:
        """The present figures; called a few times a second."""
        ...

    def finish(self, summary: Summary | None) -> None:
        """Put an end to what moves, and tell the sum; None if there is none."""
        ...
