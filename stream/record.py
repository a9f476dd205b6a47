"""What we read of a consumed Kafka record; aiokafka's ``ConsumerRecord`` fits."""

from collections.abc import Sequence
from typing import Protocol


class InputRecord(Protocol):
    """A record as it stands in its log."""

    @property
    def topic(self) -> str:
        """Its topic."""
        ...

    @property
    def partition(self) -> int:
        """Its partition."""
        ...

    @property
    def offset(self) -> int:
        """Its offset."""
        ...

    @property
    def timestamp(self) -> int:
        """Epoch ms: append time, or the virtual time of a replay."""
        ...

    @property
    def key(self) -> bytes | None:
        """Its raw key."""
        ...

    @property
    def value(self) -> bytes | None:
        """Its raw value."""
        ...

    @property
    def headers(self) -> Sequence[tuple[str, bytes]]:
        """Its headers."""
        ...
