"""When a python process of Triton is believed dead, and when its model is loaded anew.

Triton 2.51 does not start a dead process again and still calls its model ready. What shows it: the server is up, yet
no call of that model is answered. A process that was killed first lets calls run into their deadline.

Pure: the time is an argument, in seconds of any clock that never goes back.
"""

from typing import Final, NamedTuple

from stream.model.failures import FailureKind

_OK: Final = "ok"
_DEAD: Final = frozenset({FailureKind.STUB_DEAD, FailureKind.DEADLINE})


class RevivalPolicy(NamedTuple):
    """How sure to be, and how often to try."""

    failures: int = 3
    """Calls in a row that a dead process explains."""
    silent_seconds: float = 5.0
    """No answer for so long: a model that is only slow under load answers some call."""
    first_pause_seconds: float = 30.0
    """After a reload, doubled with each that did not help."""
    longest_pause_seconds: float = 600.0


class _Suspect(NamedTuple):
    failures: int
    since: float


class Revival:
    """What the calls of each model say of its process."""

    def __init__(self, policy: RevivalPolicy) -> None:
        self._policy = policy
        self._suspects: dict[str, _Suspect] = {}
        self._not_before: dict[str, float] = {}
        self._tries: dict[str, int] = {}

    def call_ended(self, model: str, outcome: str, now_seconds: float) -> None:
        """Take note of a call: "ok", "cancelled", or a ``FailureKind``."""
        if outcome in _DEAD:
            known = self._suspects.get(model, _Suspect(0, now_seconds))
            self._suspects[model] = known._replace(failures=known.failures + 1)
        elif outcome != "cancelled":
            # Also a refused connection or a full queue: they are no sign of a dead process.
            self._suspects.pop(model, None)
        if outcome == _OK:
            self._tries.pop(model, None)
            self._not_before.pop(model, None)

    def suspects(self, now_seconds: float) -> list[str]:
        """Models to load anew now, if their server is up."""
        return [
            model
            for model, suspect in self._suspects.items()
            if suspect.failures >= self._policy.failures
            and now_seconds - suspect.since >= self._policy.silent_seconds
            and now_seconds >= self._not_before.get(model, now_seconds)
        ]

    def reloaded(self, model: str, now_seconds: float) -> None:
        """It was loaded anew, or that was tried: wait and see."""
        tries = self._tries.get(model, 0)
        pause = min(self._policy.first_pause_seconds * 2.0**tries, self._policy.longest_pause_seconds)
        self._tries[model] = min(tries + 1, 16)  # 2^16 is far beyond the longest pause
        self._not_before[model] = now_seconds + pause
        self._suspects.pop(model, None)

    def forget(self) -> None:
        """What the calls said was said of the server, not of one process."""
        self._suspects.clear()
