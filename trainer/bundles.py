"""Records folded the way a worker does it: bundle by bundle and topic by topic, each state from its stored bytes.

This shares no code with ``trainer.recorder`` but what a worker is made of. It is slow, and there to be compared with.
"""

from typing import Final

import numpy as np

from stream.control import pass_gate
from stream.decode import decode_event
from stream.errors import RejectionError
from stream.events import OWNED_TOPICS
from stream.features import history_features, user_features
from stream.fold import fold_event, source_key
from stream.privacy import PrivacyRules
from stream.received import received_from
from stream.state import UserState, decode_state, encode_state
from stream.window import WindowPolicy
from trainer.events.reading import StoredRecord
from trainer.interests import LabelSet
from trainer.samples import Snapshot

_EPOCH: Final = 0
#: A worker that keeps up has its topics in step to seconds. Were they days apart, ids of repeats would be forgotten before
#: the repeats come: what a worker makes of that depends on chance.
_SPAN_MS: Final = 3_600_000


class BundleFold:
    """A worker's users, as far as their states go.

    Args:
        labels: The interests.
        bundle: Most records that wait until the bundles of all topics are folded.
    """

    def __init__(self, labels: LabelSet, bundle: int) -> None:
        self._labels = labels
        self._bundle = bundle
        self._policy = WindowPolicy(interest_level=labels.level)
        self._privacy = PrivacyRules()
        self._stored: dict[bytes, bytes] = {}
        self._texts: dict[int, str] = {}
        self._waiting: dict[tuple[str, int], list[StoredRecord]] = {}
        self._waiting_count = 0
        self._waiting_since_ms = 0
        self._next_offset: dict[tuple[str, int], int] = {}

    def receive(self, record: StoredRecord) -> None:
        """Take a record in; it is folded with its bundle."""
        if self._waiting_count >= self._bundle or record.timestamp - self._waiting_since_ms > _SPAN_MS:
            self.settle()
            self._waiting_since_ms = record.timestamp
        log = record.topic, record.partition
        # An archive may keep the records of a log in another order than their offsets, which are its own then.
        offset = self._next_offset.get(log, 0)
        self._next_offset[log] = offset + 1
        self._waiting.setdefault(log, []).append(record._replace(offset=offset))
        self._waiting_count += 1

    def settle(self) -> None:
        """Fold what waits, the topics in another order than that in which their records came."""
        for log in sorted(self._waiting, reverse=True):
            self._fold(log)
        self._waiting_count = 0

    def read(self, user_id: str, now_ms: int) -> tuple[Snapshot, list[str]]:
        """A user as a worker would score it now, with n = 1, and the words of its window."""
        state = self._state(user_id.encode())
        length, size = len(state.window), self._policy.size
        kinds = np.zeros((1, size), dtype=np.uint8)
        occurred = np.zeros((1, size), dtype=np.int64)
        kinds[0, :length] = state.window.kinds
        occurred[0, :length] = state.window.occurred
        rows = self._labels.row_by_category
        snapshot = Snapshot(
            history=history_features(state, rows, len(self._labels), now_ms).astype(np.float16)[None],
            user=user_features(state, now_ms)[None],
            window_texts=np.zeros(
                (1, 0), dtype=np.int32
            ),  # rows mean nothing outside of one directory of samples
            window_kinds=kinds,
            window_occurred=occurred,
            impressions=np.array([state.exposures.impressions], dtype=np.int32),
            clicks=np.array([state.exposures.clicks], dtype=np.int32),
        )
        return snapshot, [self._texts[text] for text in state.window.texts]

    def _fold(self, log: tuple[str, int]) -> None:
        records = sorted(self._waiting.pop(log), key=lambda record: record.key)
        source = source_key(OWNED_TOPICS.index(log[0]), log[1], _EPOCH)
        touched: dict[bytes, UserState] = {}
        for record in records:
            try:
                self._fold_record(touched, source, record)
            except RejectionError:
                continue  # a dead letter
        self._stored.update((user, encode_state(state)) for user, state in touched.items())

    def _fold_record(self, touched: dict[bytes, UserState], source: int, record: StoredRecord) -> None:
        decoded = decode_event(record.value, record.timestamp)
        if decoded.event.is_bot:
            return
        user = decoded.event.user_id.encode()
        if user not in touched:
            touched[user] = self._state(user)
        received = received_from(source, record, decoded)
        gated = pass_gate(touched[user], decoded, received, self._privacy)
        if gated.state is not None:
            touched[user] = gated.state
        if gated.outcome is None:
            fold_event(touched[user], gated.decoded, received, self._policy, self._texts)

    def _state(self, user: bytes) -> UserState:
        stored = self._stored.get(user)
        return UserState() if stored is None else decode_state(stored)
