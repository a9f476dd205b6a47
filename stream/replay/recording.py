"""Which part of the recorded behaviour a replay shows: whose, from when to when, and how fast."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from typing import Final

from stream.errors import ConfigurationError
from stream.held_out import is_held_out
from stream.replay.complete_journey import household_ids, items_by_category, load_events
from stream.replay.generated import BrowsePolicy, with_browsing
from stream.replay.pace import Pace
from stream.replay.timed import TimedEvent

#: Of the recorded purchases.
FIRST_DAY: Final = date(2017, 1, 1)
LAST_DAY: Final = date(2017, 12, 31)
#: The first day that no label of the model's fitting or validation lies in; a personal campaign is mailed that day
#: and five run.
DEFAULT_START: Final = date(2017, 10, 30)
#: Past the first days after which a user's window (30 days) and shorter half-lives are filled.
DEFAULT_HISTORY_DAYS: Final = 84.0
#: A day in a sixth of a minute.
DEFAULT_SPEED: Final = 5000.0
DEFAULT_USERS: Final = 300


@dataclass(frozen=True)
class Recording:
    """A part of The Complete Journey; days begin at midnight UTC.

    Raises:
        ConfigurationError: Nobody, no time or no pace is chosen.
    """

    users: int = DEFAULT_USERS
    speed: float = DEFAULT_SPEED
    start: date = DEFAULT_START
    #: The replay ends before this day; None is the end of the data.
    until: date | None = None
    history_days: float = DEFAULT_HISTORY_DAYS
    #: Of the generated browsing.
    seed: int = 0

    def __post_init__(self) -> None:
        """Check that there is something to replay."""
        if self.users < 1:
            raise ConfigurationError(f"users is {self.users}: a replay needs at least 1")
        if not FIRST_DAY <= self.start <= LAST_DAY:
            raise ConfigurationError(
                f"the replay would start on {self.start}, but the data runs from {FIRST_DAY} to {LAST_DAY}: give a day of it"
            )
        if self.until is not None and self.until <= self.start:
            raise ConfigurationError(
                f"the replay would end on {self.until}, which is not after its start {self.start}: give a later day"
            )
        self.pace()

    @property
    def start_ms(self) -> int:
        """Where the paced part begins, UTC ms."""
        return _midnight_ms(self.start)

    def pace(self) -> Pace:
        """A virtual clock that was not started yet."""
        return Pace(start_ms=self.start_ms, speed=self.speed, history_days=self.history_days)

    def events(self) -> Iterator[TimedEvent]:
        """Recorded and generated events in time order; the tables are read at the call.

        Raises:
            ConfigurationError: If the data set is not installed.
        """
        recorded = load_events(
            start_ms=self.pace().history_start_ms,
            end_ms=None if self.until is None else _midnight_ms(self.until),
            households=chosen_households(self.users),
        )
        return with_browsing(recorded, items_by_category(), BrowsePolicy(self.seed))


def chosen_households(most: int) -> list[int]:
    """The first so many households: those that the model never saw in training come first, each part by number."""
    return sorted(household_ids(), key=lambda household: (not is_held_out(str(household)), household))[:most]


def history_and_rest(
    events: Iterable[TimedEvent], start_ms: int
) -> tuple[Iterator[TimedEvent], Iterator[TimedEvent]]:
    """The events before ``start_ms``, and those from it on; the second is to be read after the first's end."""
    all_events = iter(events)
    first: list[TimedEvent] = []

    def history() -> Iterator[TimedEvent]:
        for event in all_events:
            if event.at_ms >= start_ms:
                first.append(event)
                return
            yield event

    def rest() -> Iterator[TimedEvent]:
        yield from first
        yield from all_events

    return history(), rest()


def _midnight_ms(day: date) -> int:
    return int(datetime.combine(day, time(), UTC).timestamp()) * 1000
