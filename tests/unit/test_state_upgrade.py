"""G13: a state that an earlier release wrote is read, or refused by name; never misread.

``tests/states`` holds states as the bytes that the named release wrote. A new encoding adds a file and keeps the old ones.
"""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stream.errors import StateVersionError
from stream.fold import Received, event_hash, fold_event, source_key
from stream.render import category_hash
from stream.state import decode_state, encode_state, peek_applied, peek_erased, peek_revision
from stream.window import WindowPolicy
from tests.builders import NOW_MS, decoded

_WRITTEN = json.loads((Path(__file__).parents[1] / "states" / "version-1.json").read_text(encoding="utf-8"))
APPLIED = {source_key(0, 0, 0): 7, source_key(2, 2, 0): 3, source_key(3, 0, 0): 5}


def written(name: str) -> bytes:
    return bytes.fromhex(_WRITTEN[name])


def test_a_shopper_of_0_1_0_is_all_there(record_property: Callable[[str, object], None]) -> None:
    state = decode_state(written("shopper"))
    record_property("events_in", 3)
    record_property("lost", 3 - len(state.recent))

    assert (state.revision, state.folded_at_ms, state.erased_at_ms) == (3, NOW_MS, 0)
    assert state.applied == APPLIED
    assert [one.event_id for one in state.window.behaviours()] == [b"first", b"second", b"second"]
    assert [one.position for one in state.window.behaviours()] == [0, 0, 1]
    purchases = dict(zip(state.profile.categories, state.profile.purchases, strict=True))
    assert purchases == {category_hash("tea"): 1, category_hash("cheese"): 1}
    assert (state.orders.count, state.orders.last) == (1, NOW_MS // 1000 - 1)
    assert list(state.recent.ids) == [event_hash("", name) for name in (b"first", b"second", b"third")]
    assert (len(state.exposures), state.exposures.impressions, state.exposures.clicks) == (1, 1, 0)


def test_what_0_1_0_erased_stays_erased() -> None:
    data = written("erased")
    state = decode_state(data)

    assert (peek_erased(data), state.erased_at_ms, state.revision) == (True, NOW_MS, 4)
    assert state.applied == {**APPLIED, source_key(4, 0, 0): 9}
    assert (len(state.window), len(state.profile), len(state.recent)) == (0, 0, 0)


@pytest.mark.parametrize("name", ["shopper", "erased", "empty"])
def test_a_state_of_0_1_0_goes_on_as_one_of_this_release(name: str) -> None:
    state = decode_state(written(name))
    before = state.revision
    received = Received(
        source_key(0, 0, 0), 100, NOW_MS + 90 * 86_400_000, event_hash("", b"next"), 1, b"next"
    )

    fold_event(
        state,
        decoded(received.record_ms, event_id="next", occurred_at_ms=received.record_ms),
        received,
        WindowPolicy(),
        {},
    )
    again = decode_state(encode_state(state))

    assert again.revision == before + 1
    assert again.applied[source_key(0, 0, 0)] == 100


@pytest.mark.parametrize("name", ["shopper", "erased"])
def test_what_is_looked_up_without_decoding_is_the_same(name: str) -> None:
    data = written(name)
    state = decode_state(data)

    assert (peek_revision(data), peek_applied(data)) == (state.revision, state.applied)


def test_a_state_of_a_later_release_is_refused_with_the_cure() -> None:
    later = bytes([255]) + written("shopper")[1:]

    with pytest.raises(StateVersionError, match=r"encoding version 255.*run the release that wrote it"):
        decode_state(later)
