"""When an event of the past is due again: a virtual clock that runs ``speed`` times as fast as the real one.

Nothing here sleeps or reads a clock: it says how long to wait.
"""

import math
from typing import Final

from stream.errors import ConfigurationError

_DAY_MS: Final = 86_400_000


class Pace:
    """Maps event time to sending time: history at once, everything from ``start_ms`` on at ``speed``.

    The virtual clock starts at ``start_ms`` when the first event at or after it asks; however long the history took
    to send, no event is then overdue.

    Args:
        start_ms: Event time (UTC ms) at which the paced part begins.
        speed: Virtual seconds per real second, above 0; infinity sends everything at once.
        history_days: How far before ``start_ms`` the replay should begin.

    Raises:
        ConfigurationError: If ``speed`` or ``history_days`` make no clock.
    """

    def __init__(self, *, start_ms: int, speed: float, history_days: float = 0.0) -> None:
        if not speed > 0:
            raise ConfigurationError(f"the replay's speed is {speed}; give a number above 0, 1 is real time")
        if not 0 <= history_days < math.inf:
            raise ConfigurationError(f"history_days is {history_days}; give 0 or more days")
        self.start_ms = start_ms
        self.speed = speed
        self.history_start_ms = start_ms - round(history_days * _DAY_MS)
        self._began_seconds: float | None = None

    def is_history(self, at_ms: int) -> bool:
        """Whether an event of that time is sent without waiting."""
        return at_ms < self.start_ms

    def wait_seconds(self, at_ms: int, now_seconds: float) -> float:
        """Real seconds until the event is due; 0 if it is due or overdue.

        Args:
            at_ms: Event time.
            now_seconds: A monotonic clock's time.
        """
        if at_ms < self.start_ms:
            return 0.0
        if self._began_seconds is None:
            self._began_seconds = now_seconds
        due_seconds = self._began_seconds + (at_ms - self.start_ms) / 1000 / self.speed
        return max(0.0, due_seconds - now_seconds)

    def virtual_ms(self, now_seconds: float) -> int:
        """Where the virtual clock stands (UTC ms); at ``start_ms`` while history is being sent."""
        if self._began_seconds is None or math.isinf(self.speed):
            return self.start_ms
        return self.start_ms + round((now_seconds - self._began_seconds) * 1000 * self.speed)
