"""Times as they are typed: ``90m``, ``24h``, ``7d`` ago, or a date with or without a time, in UTC."""

import re
from datetime import UTC, datetime
from typing import Final

from stream.errors import ConfigurationError

_AGO: Final = re.compile(r"(\d{1,9})([smhd])")
_UNIT_MS: Final = {"s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


def moment_ms(text: str, now_ms: int) -> int:
    """UTC epoch ms of a time as it is typed.

    Raises:
        ConfigurationError: If it is none.
    """
    ago = _AGO.fullmatch(text.strip())
    if ago is not None:
        return now_ms - int(ago[1]) * _UNIT_MS[ago[2]]
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as error:
        raise ConfigurationError(
            f"{text!r} is no time: write how long ago (90m, 24h, 7d), or a time in UTC such as 2026-11-25T14:00"
        ) from error
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return int(moment.timestamp() * 1000)
