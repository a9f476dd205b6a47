"""The service's topics, each as it must be: partitions, clean-up and what else the broker is told about it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from stream.events import (
    CAMPAIGNS_TOPIC,
    DEAD_LETTER_TOPIC,
    DECISIONS_TOPIC,
    OWNED_TOPICS,
    ROLLOUT_TOPIC,
    TEXTS_TOPIC,
    UPDATES_TOPIC,
)
from stream.topic_limits import DEFAULT_LIMITS, TopicLimits

USER_BEHAVIOUR: Final = "user-behaviour"
USER_SCORES: Final = "user-scores"
TABLES: Final[tuple[str, ...]] = (USER_BEHAVIOUR, USER_SCORES)


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """One topic as the service needs it."""

    name: str
    partitions: int
    compacted: bool = False
    config: Mapping[str, str] = field(default_factory=dict)
    """Topic configuration beside cleanup.policy; what is named here is also checked."""
    co_partitioned: bool = True
    """Read or written by partition number, so its count must be that of the inputs."""

    def full_config(self) -> dict[str, str]:
        """Topic configuration with cleanup.policy, which for a changelog must be `compact` alone.

        With `compact,delete` the broker drops what was not written lately, and recovery loses those users.
        """
        return {"cleanup.policy": "compact" if self.compacted else "delete", **self.config}


def changelog_topic(app_id: str, table: str) -> str:
    """Faust's name of a table's changelog."""
    return f"{app_id}-{table}-changelog"


def service_topics(
    app_id: str, partitions: int, *, virtual_time: bool, limits: TopicLimits = DEFAULT_LIMITS
) -> tuple[TopicSpec, ...]:
    """All topics of the service, in the order of the way of an event.

    Args:
        app_id: prefix of the changelogs, as Faust names them.
        partitions: of every topic that is read or written by partition number.
        virtual_time: a replay: the producer's record time counts, and nothing is dropped for being old.
        limits: how long anything of a person stays; a replay has none.
    """
    kept, compaction = limits.config(virtual_time=virtual_time)
    clock = {"message.timestamp.type": "CreateTime" if virtual_time else "LogAppendTime"}
    return (
        *(TopicSpec(name, partitions, config={**clock, **kept}) for name in OWNED_TOPICS),
        TopicSpec(DEAD_LETTER_TOPIC, partitions, config=kept),
        *(
            TopicSpec(changelog_topic(app_id, table), partitions, compacted=True, config=compaction)
            for table in TABLES
        ),
        TopicSpec(UPDATES_TOPIC, partitions, compacted=True, config=compaction),
        TopicSpec(DECISIONS_TOPIC, partitions, config=kept),
        # Campaigns are few and every worker reads them all.
        TopicSpec(CAMPAIGNS_TOPIC, 1, compacted=True, co_partitioned=False),
        # So is the rollout of models; one partition, so that all workers read one order.
        TopicSpec(ROLLOUT_TOPIC, 1, compacted=True, co_partitioned=False),
        TopicSpec(TEXTS_TOPIC, partitions, compacted=True, config=compaction),
    )
