"""The check of all gates: every id of the input log is in a state, in a dead letter or in a counted drop, once."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import orjson

from stream.dead_letter import REASON_HEADER
from stream.events import Outcome
from stream.hashing import hash64
from stream.recent import MAX_RECENT_IDS
from stream.state import UserState
from tests.behaviour_feed import essence
from tests.reference_fold import Place, ReferenceFold

_TOPIC, _PARTITION, _OFFSET = (f"__streams.errors.{name}" for name in ("topic", "partition", "offset"))
#: Enough to see whether they stood side by side.
_SHOWN = 40


class Letter(NamedTuple):
    """A dead letter: where its record stood, and what it says."""

    place: Place
    reason: str
    content: tuple[bytes | None, bytes | None]


class Accounts(NamedTuple):
    """What became of the events of a log."""

    events_in: int
    lost: int
    counted_twice: int
    #: Users whose state is not that of the reference fold.
    differing_users: int
    dead_letters: int
    dropped_by_reason: dict[str, int]
    updates: int
    #: Outputs that came again: updates by their id, dead letters by their place.
    duplicates: int
    #: Of those, the ones that say something else the second time.
    unlike_duplicates: int
    #: The first lost ones, as topic/partition@offset.
    lost_at: list[str]

    def figures(self) -> dict[str, Any]:
        """For a verdict."""
        return self._asdict()

    def problems(self) -> list[str]:
        """What breaks the promise."""
        broken = {
            "events were lost": self.lost,
            "events were counted twice": self.counted_twice,
            "users' states differ from the pure fold": self.differing_users,
            "repeated outputs differ from the first": self.unlike_duplicates,
        }
        return [f"{count} {what}" for what, count in broken.items() if count]


def added(several: Sequence[Accounts]) -> Accounts:
    """The accounts of several logs as if they were one."""
    drops: Counter[str] = Counter()
    for one in several:
        drops.update(one.dropped_by_reason)
    return Accounts(
        events_in=sum(one.events_in for one in several),
        lost=sum(one.lost for one in several),
        counted_twice=sum(one.counted_twice for one in several),
        differing_users=sum(one.differing_users for one in several),
        dead_letters=sum(one.dead_letters for one in several),
        dropped_by_reason=dict(drops),
        updates=sum(one.updates for one in several),
        duplicates=sum(one.duplicates for one in several),
        unlike_duplicates=sum(one.unlike_duplicates for one in several),
        lost_at=[place for one in several for place in one.lost_at],
    )


def letter(value_and_key: tuple[bytes | None, bytes | None], headers: Sequence[tuple[str, bytes]]) -> Letter:
    """A dead letter from its record."""
    told = {name: content.decode(errors="replace") for name, content in headers}
    place = (told[_TOPIC], int(told[_PARTITION]), int(told[_OFFSET]))
    return Letter(place, told[REASON_HEADER], value_and_key)


def settle(
    reference: ReferenceFold,
    states: Mapping[bytes, UserState],
    letters: Sequence[Letter],
    updates: Sequence[bytes],
) -> Accounts:
    """Compare what the workers left with what one pure fold over the same log gives."""
    lost = twice = differing = 0
    lost_at: list[Place] = []
    for key in reference.states.keys() | states.keys():
        state = states.get(key, UserState())
        accepted = reference.accepted.get(key, {})
        missing, repeated = _compare_ids(set(accepted), state, reference.states.get(key, UserState()))
        lost_at += [place for one, place in accepted.items() if missing and one not in state.recent.ids]
        lost += missing
        twice += repeated
        differing += essence(state) != essence(reference.states.get(key, UserState()))
    rejected = {(one.place, one.reason) for one in letters}
    lost += len(reference.rejected.items() - rejected)
    lost_at += [place for place, _ in reference.rejected.items() - rejected]
    twice += len(rejected - reference.rejected.items())
    repeated_letters, unlike_letters = _repeats([(one.place, one) for one in letters])
    repeated_updates, unlike_updates = _repeats([_update(value) for value in updates])
    return Accounts(
        events_in=reference.outcomes.total(),
        lost=lost,
        counted_twice=twice,
        differing_users=differing,
        dead_letters=len(rejected),
        dropped_by_reason=_drops(reference.outcomes),
        updates=len(updates) - repeated_updates,
        duplicates=repeated_letters + repeated_updates,
        unlike_duplicates=unlike_letters + unlike_updates,
        lost_at=[f"{topic}/{number}@{offset}" for topic, number, offset in sorted(lost_at)[:_SHOWN]],
    )


def _drops(outcomes: Mapping[tuple[str, str], int]) -> dict[str, int]:
    """Events that are in no state and no dead letter, by outcome and what it says beside it."""
    kept = (Outcome.ACCEPTED, Outcome.NORMALISED, Outcome.REJECTED)
    return {
        f"{outcome} {reason}".rstrip(): count
        for (outcome, reason), count in outcomes.items()
        if outcome not in kept
    }


def _compare_ids(accepted: set[int], state: UserState, expected: UserState) -> tuple[int, int]:
    """Events that are missing in a state, and those that are in it once too often.

    The revision counts applied events, the ids are those inside the grace: both must tell the same. Where only the latest
    ids are kept (of a very busy user, or beyond the grace), the revision tells alone.
    """
    ids = set(state.recent.ids)
    forgotten = len(state.recent) >= MAX_RECENT_IDS or len(expected.recent) < len(accepted)
    missing = max(0 if forgotten else len(accepted - ids), len(accepted) - state.revision)
    repeated = max(len(state.recent.ids) - len(ids & accepted), state.revision - len(accepted))
    return max(missing, 0), max(repeated, 0)


def _update(value: bytes) -> tuple[str, Any]:
    """By its id; when it was emitted is all that may differ."""
    document = orjson.loads(value)
    document.pop("emitted_at_ms")
    return document["update_id"], hash64(orjson.dumps(document))  # of a long run there are many


def _repeats(outputs: Sequence[tuple[Any, Any]]) -> tuple[int, int]:
    """How many came again under an id, and how many of those differ from the first."""
    first: dict[Any, Any] = {}
    counts: Counter[str] = Counter()
    for name, content in outputs:
        if name in first:
            counts["repeated"] += 1
            counts["unlike"] += first[name] != content
        else:
            first[name] = content
    return counts["repeated"], counts["unlike"]
