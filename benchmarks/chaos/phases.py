"""Where the seconds of a worker's start go, by its own log; pure."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Final

#: What a worker logs, in this order, and what is behind it then.
_PHASES: Final[Mapping[str, str]] = {
    "health_listening": "process_up",
    "recovery_began": "assigned",
    "state_recovered": "recovered",
    "partitions_assigned": "delivering",
}


def phases(log: str, began_ms: int) -> dict[str, float]:
    """Seconds from the start of the process to the end of each phase; those that did not come are missing.

    Args:
        log: Of one run of a worker.
        began_ms: Wall clock as the process was started.
    """
    seconds: dict[str, float] = {}
    for line in log.splitlines():
        if not line.startswith("{"):
            continue  # a library's
        entry = json.loads(line)
        name = _PHASES.get(entry["event"])
        if name is not None:
            at = datetime.fromisoformat(entry["timestamp"])
            seconds.setdefault(name, round(at.timestamp() - began_ms / 1000, 1))
    return seconds
