"""Decoded states of users at work, so that FOLD decodes a busy user once."""

from collections.abc import Iterable

from stream.erasure.marker import marker_key
from stream.state import UserState, decode_state
from stream.stores.backend import PartitionStore


class LiveStates:
    """A bounded cache over the behaviour store; only FOLD reads and changes what is in it.

    A state is held under its partition: a record that stands on another one must not find it.
    """

    def __init__(self, store: PartitionStore, most: int, marker_secret: bytes = b"") -> None:
        self._store = store
        self._most = most
        self._marker_secret = marker_secret
        self._states: dict[tuple[int, bytes], UserState] = {}

    def cached(self, partition: int, key: bytes) -> UserState | None:
        """The decoded state, if it is held."""
        return self._states.get((partition, key))

    def load(self, partition: int, key: bytes) -> UserState:
        """The state from the store, the marker of an erased user, or a new one; from now on held."""
        if len(self._states) >= self._most:
            del self._states[next(iter(self._states))]  # the one longest here; a busy user is soon back
        data = self._store.get(partition, key)
        if data is None:
            data = self._store.get(partition, marker_key(key, self._marker_secret))
        state = UserState() if data is None else decode_state(data)
        self._states[partition, key] = state
        return state

    def replace(self, partition: int, key: bytes, state: UserState) -> None:
        """Hold another state for a user."""
        self._states[partition, key] = state

    def discard(self, partition: int, keys: Iterable[bytes]) -> None:
        """Let go of states whose changes did not become durable."""
        for key in keys:
            self._states.pop((partition, key), None)

    def clear(self) -> None:
        """Let go of everything: after a rebalance the store may know more."""
        self._states.clear()
