"""What the model client tells whoever counts; metrics are wired to it where the worker is put together."""

from typing import Protocol


class ModelObserver(Protocol):
    """Told of every call and every look into the vector cache; must be quick and must not raise."""

    def call_ended(self, model: str, outcome: str, rows: int, seconds: float) -> None:
        """A call of the server ended, a retry included: "ok", "cancelled", or a ``FailureKind``."""
        ...

    def call_held_back(self, model: str) -> None:
        """A call was not made, because the breaker of that model is open."""
        ...

    def breaker_moved(self, model: str, *, is_open: bool) -> None:
        """Calls of that model are held back from now on, or no longer are."""
        ...

    def vectors_looked_up(self, hits: int, misses: int, held: int) -> None:
        """So many texts were cached, so many were not (some may be on their way); so many vectors are held."""
        ...

    def images_looked_up(self, found: int, unknown: int) -> None:
        """So many images that items named are in the catalogue, so many are not."""
        ...


class NoObserver:
    """Listens to nothing."""

    def call_ended(self, model: str, outcome: str, rows: int, seconds: float) -> None:
        """Not counted."""

    def call_held_back(self, model: str) -> None:
        """Not counted."""

    def breaker_moved(self, model: str, *, is_open: bool) -> None:
        """Not counted."""

    def vectors_looked_up(self, hits: int, misses: int, held: int) -> None:
        """Not counted."""

    def images_looked_up(self, found: int, unknown: int) -> None:
        """Not counted."""
