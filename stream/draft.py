"""What a bundle will change, collected before anything of it is durable."""

from collections import Counter
from dataclasses import dataclass, field

from stream.sender import OutRecord
from stream.state import UserState


@dataclass(slots=True)
class Draft:
    """What one bundle will change, before anything of it is durable."""

    topic: str
    partition: int
    source: int
    touched: dict[bytes, UserState] = field(default_factory=dict)
    #: Wall clock (ms) of the first event of each touched user.
    appended: dict[bytes, int] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    forgotten_texts: set[int] = field(default_factory=set)
    #: Markers of erased users under their hashed keys.
    markers: dict[bytes, UserState] = field(default_factory=dict)
    dead_letters: list[OutRecord] = field(default_factory=list)
    moved: dict[int, list[OutRecord]] = field(default_factory=dict)
    #: For other ids of a user, by their partition: sent before anything else.
    handed: dict[int, list[OutRecord]] = field(default_factory=dict)
    outcomes: Counter[tuple[str, str]] = field(default_factory=Counter)
    reserved_fields: int = 0
    unattributed: Counter[str] = field(default_factory=Counter)
