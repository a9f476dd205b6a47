"""All that is known of one user, and its compact, versioned encoding.

Byte budget of an encoding (version 3), little-endian:

==================  ======================================================================
header              50: version, flags, revision, consent, times, lengths
applied offsets     16 each (one per input topic that the user appeared on)
orders              40: six decayed counts, reference, last, first seen, count
window              <= 64 x 28, plus the event ids (their own length, 36 for a UUID)
profile             <= 256 x 48
recent ids          <= 1024 x 20 (only those inside the lateness grace)
exposures           <= 256 x 16, plus two counts
ties                <= 18 KB: ids of the same person (stream.ties), mostly none
==================  ======================================================================

Version 1 had no consent and a header of 46; it is read as the state of a user who said nothing. Version 2 had no
ties; a state without any is still written as version 2, so that an earlier release reads it.

A year of a household that buys from 100 categories takes about 7 KiB; the cap is ``MAX_STATE_BYTES``.
"""

import struct
from array import array
from typing import Final

from stream.columns import Columns
from stream.consent import Consent
from stream.errors import StateVersionError
from stream.exposure import Exposures
from stream.profile import HALF_LIVES_DAYS, Profile, add_decayed
from stream.recent import RecentIds
from stream.ties import NO_TIES, decode_ties, encode_ties
from stream.window import BehaviourWindow

ENCODING_VERSION: Final = 3
_WITHOUT_TIES: Final = 2
#: All columns at their caps stay below this, also with 255 behaviours and the longest event ids (about 104 KB with
#: 64 of them); a Kafka record holds 1 MiB.
MAX_STATE_BYTES: Final = 327_680

_FLAG_ERASED: Final = 1
_FLAG_STATED: Final = 2
_FLAG_MINOR: Final = 4
_FLAG_MOVED: Final = 8
_HEADER: Final = struct.Struct("<BBIHqqBBxIHHHxIII")
_HEADER_BYTES_1: Final = 46
_CONSENT: Final = struct.Struct("<H")
_CONSENT_AT: Final = 6
_EXPIRES: Final = struct.Struct("<I")
_EXPIRES_AT: Final = 46
_REVISION: Final = struct.Struct("<I")
_REVISION_AT: Final = 2
_FOLDED: Final = struct.Struct("<q")
_FOLDED_AT: Final = 8
_APPLIED_COUNT_AT: Final = 24
_ORDERS: Final = struct.Struct("<IIII")
_WIDTH: Final = len(HALF_LIVES_DAYS)


class Orders:
    """How often a user buys anything: decayed counts of purchase events, and when."""

    __slots__ = ("count", "first_seen", "last", "reference", "weights")

    def __init__(self) -> None:
        self.weights = array("f", (0.0,) * _WIDTH)
        self.reference = 0
        self.last = 0
        #: Second of the earliest event of any type.
        self.first_seen = 0
        self.count = 0

    def see(self, seconds: int) -> None:
        """Take note of any event."""
        if self.first_seen == 0 or seconds < self.first_seen:
            self.first_seen = seconds

    def add(self, seconds: int) -> None:
        """Take note of one purchase event."""
        if self.count == 0:
            self.reference = seconds
        add_decayed(self.weights, 0, 1.0, seconds - self.reference)
        self.reference = max(self.reference, seconds)
        self.last = max(self.last, seconds)
        self.count += 1


class UserState:
    """One user's behaviour state; only FOLD changes it."""

    __slots__ = (
        "applied",
        "consent",
        "erased_at_ms",
        "exposures",
        "folded_at_ms",
        "orders",
        "profile",
        "recent",
        "revision",
        "ties",
        "window",
    )

    def __init__(self) -> None:
        #: Goes up by one with each applied event; a user is due while it is above the revision scored.
        self.revision = 0
        #: Last applied offset by source (topic, partition and epoch; see stream.fold.source_key).
        self.applied: dict[int, int] = {}
        #: Record timestamp (ms) of the last applied event: FOLD's clock.
        self.folded_at_ms = 0
        #: When the user was erased, 0 if never; an erased state holds nothing else.
        self.erased_at_ms = 0
        self.consent = Consent()
        self.orders = Orders()
        self.window = BehaviourWindow()
        self.profile = Profile()
        self.recent = RecentIds()
        self.exposures = Exposures()
        #: To other ids of the same person.
        self.ties = NO_TIES


def encode_state(state: UserState) -> bytes:
    """The state as bytes; equal states give equal bytes."""
    window, profile, recent, exposures, orders = (
        state.window,
        state.profile,
        state.recent,
        state.exposures,
        state.orders,
    )
    blob, ties = b"".join(window.event_ids), encode_ties(state.ties)
    # Columns are joined as they are: an array is a buffer, and a copy of each would cost a tenth of the time.
    return b"".join(
        (
            _HEADER.pack(
                ENCODING_VERSION if ties else _WITHOUT_TIES,
                _flags(state),
                state.revision,
                state.consent.purposes,
                state.folded_at_ms,
                state.erased_at_ms,
                len(state.applied),
                len(window.occurred),
                len(blob),
                len(profile.categories),
                len(recent.ids),
                len(exposures.campaigns),
                exposures.impressions,
                exposures.clicks,
                state.consent.expires_at_s,
            ),
            array("Q", state.applied.keys()),
            array("q", state.applied.values()),
            _ORDERS.pack(orders.reference, orders.last, orders.first_seen, orders.count),
            orders.weights,
            window.occurred,
            window.categories,
            window.texts,
            array("H", map(len, window.event_ids)),
            window.positions,
            window.kinds,
            blob,
            profile.categories,
            profile.reference,
            profile.last,
            profile.first,
            profile.purchases,
            profile.weights,
            recent.ids,
            recent.bodies,
            recent.occurred,
            exposures.campaigns,
            exposures.shown,
            ties,
        )
    )


def _flags(state: UserState) -> int:
    consent = state.consent
    return (
        bool(state.erased_at_ms) * _FLAG_ERASED
        | consent.is_stated * _FLAG_STATED
        | consent.is_minor * _FLAG_MINOR
        | bool(state.ties.into) * _FLAG_MOVED
    )


def peek_consent(data: bytes) -> Consent:
    """What the user said, without decoding the rest."""
    if data[0] == 1:
        return Consent()
    return Consent(
        _CONSENT.unpack_from(data, _CONSENT_AT)[0],
        _EXPIRES.unpack_from(data, _EXPIRES_AT)[0],
        is_stated=bool(data[1] & _FLAG_STATED),
        is_minor=bool(data[1] & _FLAG_MINOR),
    )


def peek_revision(data: bytes) -> int:
    """The fold revision of an encoded state, without decoding the rest."""
    return int(_REVISION.unpack_from(data, _REVISION_AT)[0])


def peek_folded(data: bytes) -> int:
    """The record timestamp (ms) of the last applied event of an encoded state, without decoding the rest."""
    return int(_FOLDED.unpack_from(data, _FOLDED_AT)[0])


def peek_erased(data: bytes) -> bool:
    """Whether an encoded state is the marker of an erased user."""
    return bool(data[1] & _FLAG_ERASED)


def peek_moved(data: bytes) -> bool:
    """Whether an encoded state is the redirect of a merged user."""
    return bool(data[1] & _FLAG_MOVED)


def peek_applied(data: bytes) -> dict[int, int]:
    """The applied offsets of an encoded state by source, without decoding the rest."""
    columns = Columns(data, _header_bytes(data))
    count = data[_APPLIED_COUNT_AT]
    return dict(zip(columns.take("Q", count), columns.take("q", count), strict=True))


def decode_state(data: bytes) -> UserState:
    """The state that :func:`encode_state` encoded.

    Raises:
        StateVersionError: If it was written by a newer release.
    """
    if data[0] not in (1, _WITHOUT_TIES, ENCODING_VERSION):
        raise StateVersionError(data[0], ENCODING_VERSION)
    (
        _,
        _,
        revision,
        _,
        folded_at_ms,
        erased_at_ms,
        applied_count,
        window_count,
        blob_bytes,
        profile_count,
        recent_count,
        exposure_count,
        impressions,
        clicks,
        _,
    ) = _HEADER.unpack_from(data)
    state = UserState()
    state.consent = peek_consent(data)
    state.revision, state.folded_at_ms, state.erased_at_ms = revision, folded_at_ms, erased_at_ms
    columns = Columns(data, _header_bytes(data))
    state.applied = dict(zip(columns.take("Q", applied_count), columns.take("q", applied_count), strict=True))
    orders = state.orders
    orders.reference, orders.last, orders.first_seen, orders.count = _ORDERS.unpack(
        columns.bytes(_ORDERS.size)
    )
    orders.weights = columns.take("f", _WIDTH)
    _decode_window(state.window, columns, window_count, blob_bytes)
    profile = state.profile
    profile.categories = columns.take("Q", profile_count)
    profile.reference = columns.take("I", profile_count)
    profile.last = columns.take("I", profile_count)
    profile.first = columns.take("I", profile_count)
    profile.purchases = columns.take("I", profile_count)
    profile.weights = columns.take("f", profile_count * _WIDTH)
    recent = state.recent
    recent.ids = columns.take("Q", recent_count)
    recent.bodies = columns.take("I", recent_count)
    recent.occurred = columns.take("q", recent_count)
    exposures = state.exposures
    exposures.campaigns = columns.take("Q", exposure_count)
    exposures.shown = columns.take("q", exposure_count)
    exposures.impressions, exposures.clicks = impressions, clicks
    state.ties = decode_ties(columns.rest())
    return state


def _header_bytes(data: bytes) -> int:
    return _HEADER_BYTES_1 if data[0] == 1 else _HEADER.size


def _decode_window(window: BehaviourWindow, columns: Columns, count: int, blob_bytes: int) -> None:
    window.occurred = columns.take("q", count)
    window.categories = columns.take("Q", count)
    window.texts = columns.take("Q", count)
    lengths = columns.take("H", count)
    window.positions = columns.take("B", count)
    window.kinds = columns.take("B", count)
    blob = columns.bytes(blob_bytes)
    start = 0
    for length in lengths:
        window.event_ids.append(blob[start : start + length])
        start += length
