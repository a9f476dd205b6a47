"""What of SCORE is left without a model: to take back what is out of users who may not be known any more.

A worker with ``MODEL__ENABLED=false`` scores nobody. But an erasure must end with whatever worker runs: the update and
the scores of the user get their tombstones, and the user's key goes from the state (stream.publisher, stream.erasure).
"""

from collections.abc import Callable, Sequence

from stream.due import DueUser, DueUsers
from stream.publisher import Publisher, PublishParts
from stream.score_service import SharedParts
from stream.scoring import Scoring, ScoringParts
from stream.settings import Settings
from stream.stores.backend import PartitionStore
from stream.topic_specs import USER_SCORES, changelog_topic
from stream.withdrawal import Refused, refused_by, withdrawal


class DueWithdrawals(DueUsers):
    """Of the users that are marked, only those of whom nothing may be out.

    Args:
        behaviour: The users' states.
        is_refused: See ``Refused``.
    """

    def __init__(self, behaviour: PartitionStore, is_refused: Refused) -> None:
        super().__init__(min_interval_seconds=0.0)
        self._behaviour = behaviour
        self._is_refused = is_refused

    def mark(
        self, partition: int, key: bytes, now: float, *, appended_ms: int = 0, urgent: bool = False
    ) -> None:
        """See ``DueUsers``; who may be known is passed over."""
        data = self._behaviour.get(partition, key)
        if withdrawal(DueUser(partition, key, 0, 0.0), data, self._is_refused) is not None:
            super().mark(partition, key, now, appended_ms=appended_ms, urgent=urgent)


class Withdrawer:
    """Stands in for the scorer in the scoring loop."""

    #: Nothing that counts beside FOLD's.
    work_seconds = 0.0

    def __init__(self, publisher: Publisher, behaviour: PartitionStore, is_refused: Refused) -> None:
        self._publisher = publisher
        self._behaviour = behaviour
        self._is_refused = is_refused

    async def score(self, due: Sequence[DueUser], abandoned: Callable[[], bool]) -> list[DueUser]:
        """Take back what is out of these users; who has come back meanwhile is left alone.

        Raises:
            SendAbandonedError: If the partitions moved; the new owner finds these users due.
        """
        found = [
            withdrawal(user, self._behaviour.get(user.partition, user.key), self._is_refused) for user in due
        ]
        erased = [one for one in found if one is not None]
        if erased:
            await self._publisher.publish([], erased, abandoned)
        return []


def due_withdrawals(
    settings: Settings, behaviour: PartitionStore, now_ms: Callable[[], int]
) -> DueWithdrawals:
    """The due users of a worker without a model."""
    return DueWithdrawals(behaviour, refused_by(settings.consent.purposes(), now_ms))


def build_withdrawing(
    settings: Settings,
    parts: SharedParts,
    generation: Callable[[], int],
    failed: Callable[[BaseException], None],
) -> Scoring:
    """The scoring loop with a withdrawer in it."""
    is_refused = refused_by(settings.consent.purposes(), parts.time.now_ms)
    publisher = Publisher(
        PublishParts(
            parts.behaviour, parts.scores, parts.sender, parts.clock, parts.metrics, parts.burial, is_refused
        ),
        changelog_topic(settings.app_id, USER_SCORES),
    )
    withdrawer = Withdrawer(publisher, parts.behaviour, is_refused)
    return Scoring(
        ScoringParts(
            withdrawer, parts.due, parts.pace, parts.behaviour, parts.scores, parts.time, parts.clock, lambda _key: ""
        ),
        settings.score,
        settings.model,
        generation,
        failed,
    )  # fmt: skip
