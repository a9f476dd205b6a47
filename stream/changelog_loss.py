"""Changelogs whose first records were deleted: found, and given up by a person's word.

The word is the group's committed offset of the changelog partition: it is where the log began when it was given. So it is bound to
this loss (a later one is refused again), is known to every worker, and lives as long as the commits of the inputs.
"""

from collections.abc import Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import CommitFailedError, KafkaError, UnknownMemberIdError
from faust.types import TP

from stream.compacted import latest_offsets
from stream.errors import ConfigurationError
from stream.kafka_client import client_kwargs, settings_topics
from stream.offsets import GroupOffsets
from stream.settings import Settings
from stream.sources import losses, places_of_losses
from stream.topic_specs import TABLES, changelog_topic


class Cut(NamedTuple):
    """A changelog partition whose first records are deleted, though it had a state, and nobody gave them up."""

    tp: TP
    begin: int
    end: int

    def __str__(self) -> str:
        return (
            f"{self.tp.topic} partition {self.tp.partition}: everything before offset {self.begin} is deleted, "
            f"{self.end - self.begin} offsets are left"
        )


async def find_cuts(settings: Settings) -> list[Cut]:
    """All of them; the topics must exist.

    Raises:
        aiokafka.errors.KafkaError: The broker does not tell.
        OffsetsUnknownError: The group's coordinator does not.
    """
    kafka = settings.kafka
    names = {changelog_topic(settings.app_id, table) for table in TABLES}
    tps = [
        TP(spec.name, number)
        for spec in settings_topics(settings)
        if spec.name in names
        for number in range(spec.partitions)
    ]
    async with AIOKafkaConsumer(group_id=None, enable_auto_commit=False, **client_kwargs(kafka)) as consumer:
        begins = await consumer.beginning_offsets(tps)
    late = [tp for tp in tps if begins[tp] > 0]
    if not late:
        return []
    offsets = GroupOffsets(settings.app_id, client_kwargs(kafka), latest_offsets)
    positions = await offsets.positions_once(places_of_losses(late))
    return [
        Cut(tp, begins[tp], positions[tp].end_offset)
        for tp, loss in losses(late, positions).items()
        if loss.is_committed and loss.accepted < begins[tp]
    ]


async def accept(settings: Settings, cuts: Sequence[Cut]) -> None:
    """Let workers start from what is left.

    Raises:
        ConfigurationError: The group has members, or the broker refuses.
    """
    consumer = AIOKafkaConsumer(
        group_id=settings.app_id, enable_auto_commit=False, **client_kwargs(settings.kafka)
    )
    begins = {TopicPartition(*cut.tp): cut.begin for cut in cuts}
    consumer.assign(list(begins))
    try:
        await consumer.start()
        await consumer.commit(begins)
    except (CommitFailedError, UnknownMemberIdError) as error:
        raise ConfigurationError(
            f"the group {settings.app_id} has members: stop all workers (a static one is a member until its session times "
            "out), then accept the loss, then start them"
        ) from error
    except KafkaError as error:
        raise ConfigurationError(
            f"the broker did not take the offsets of {settings.app_id}: {error!r}"
        ) from error
    finally:
        await consumer.stop()


async def accept_loss(settings: Settings, *, is_sure: bool) -> list[str]:
    """What `interestflow topics accept-loss` prints, after it did it or did not."""
    cuts = await find_cuts(settings)
    if not cuts:
        return ["no changelog has lost records that were not given up"]
    lines = [str(cut) for cut in cuts]
    if not is_sure:
        return [*lines, "users of these partitions keep what is left; with --yes workers start with that"]
    await accept(settings, cuts)
    return [*lines, "given up: workers start with what is left; replay the inputs if they are still there"]
