"""Interest updates and ad decisions, each said in a few words."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

_MINUTE_MS: Final = 60_000
_HOUR_MS: Final = 60 * _MINUTE_MS
_DAY_MS: Final = 24 * _HOUR_MS
#: Interests of an update that are named: the highest, and those that moved most.
_HIGHEST: Final = 1
_MOVED: Final = 2
_MOVERS: Final = 2
_REASONS: Final = 3
#: Said as one: most campaigns of the year do not run on a given day.
_NOT_RUNNING: Final = frozenset({"not_started", "ended", "paused"})

#: Title of a creative by (cid, crid).
Titles = Mapping[tuple[str, str], str]


class UpdatePhrase(NamedTuple):
    """Who, what they want now, and what moved it."""

    user: str
    interests: str
    moved_by: str


class DecisionPhrase(NamedTuple):
    """Who, which ad, and why it and not another."""

    user: str
    ad: str
    reason: str


def update_phrase(update: Mapping[str, Any]) -> UpdatePhrase:
    """An interest update as read from ``interest.updates``."""
    names = {interest["interest_id"]: interest["name"] for interest in update["interests"]}
    rest = sorted(update["interests"][_HIGHEST:], key=lambda interest: -abs(interest["delta"] or 0.0))
    named = [*update["interests"][:_HIGHEST], *rest[:_MOVED]]
    interests = ", ".join(_interest(interest) for interest in named)
    moved_by = "; ".join(
        f"{mover['event_type']} {ago(update['event_time_ms'] - mover['occurred_at_ms'])} "
        f"({names.get(mover['interest_id'], mover['interest_id'])})"
        for mover in update["moved_by"][:_MOVERS]
    )
    return UpdatePhrase(update["user_id"], interests, moved_by or "time alone")


def decision_phrase(decision: Mapping[str, Any], titles: Titles) -> DecisionPhrase:
    """An ad decision as read from ``ads.decisions``."""
    others = _losses(decision["candidates"])
    bid = decision["bid"]
    if bid is None:
        return DecisionPhrase(decision["user_id"], "no ad", others or "no campaigns")
    won = next(candidate for candidate in decision["candidates"] if candidate["outcome"] == "won")
    ad = f"campaign {bid['cid']}, {titles.get((bid['cid'], bid['crid']), bid['crid'])}"
    reason = f"{won['reason']}: ${won['price']:.2f} CPM at {won['predicted_response']:.1%}; others: {others or 'none'}"
    return DecisionPhrase(decision["user_id"], ad, reason)


def ago(duration_ms: int) -> str:
    """A duration in its largest whole unit."""
    if duration_ms < _MINUTE_MS:
        return "just now"
    units = ((_DAY_MS, "d"), (_HOUR_MS, "h"), (_MINUTE_MS, "min"))
    return next(f"{duration_ms // unit_ms} {unit} ago" for unit_ms, unit in units if duration_ms >= unit_ms)


def _losses(candidates: Iterable[Mapping[str, Any]]) -> str:
    lost = [candidate["reason"] for candidate in candidates if candidate["outcome"] == "lost"]
    ran = Counter(reason for reason in lost if reason not in _NOT_RUNNING)
    idle = len(lost) - ran.total()
    said = [f"{count} {reason}" for reason, count in ran.most_common(_REASONS)]
    return ", ".join([*said, *([f"{idle} not running"] if idle else [])])


def _interest(interest: Mapping[str, Any]) -> str:
    delta = interest["delta"]
    moved = f" ({100 * delta:+.0f})" if delta is not None and abs(delta) >= 0.005 else ""
    return f"{interest['name']} {interest['score']:.0%}{moved}"
