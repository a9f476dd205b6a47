"""``interestflow erase``: ask for an erasure, wait until a worker carried it out, and prove it."""

from typing import Final, NamedTuple

import orjson
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.errors import KafkaError

from stream.clock import Clock
from stream.embedded.tansu_highwater import true_end_offsets
from stream.erasure.marker import marker_key
from stream.erasure.report import Found, Place, Report, topic_place
from stream.erasure.search import newest_timestamp, search_topic, stored_on_disk, tombstone_after
from stream.errors import TransientError
from stream.events import BEHAVIOUR_TOPICS, CAMPAIGNS_TOPIC, CONTROL_TOPIC, TEXTS_TOPIC
from stream.foreign_headers import read_foreign_headers
from stream.kafka_client import client_kwargs, settings_topics
from stream.partitioner import partitioner
from stream.settings import Settings
from stream.topic_specs import USER_BEHAVIOUR, USER_SCORES, changelog_topic
from stream.topics import topic_configs

DEFAULT_WAIT_SECONDS: Final = 60.0


class EraseOptions(NamedTuple):
    """What the command line says."""

    user: str
    wait_seconds: float


async def erase(options: EraseOptions, settings: Settings, clock: Clock) -> Report:
    """Erase a user and look for what is left.

    Raises:
        TransientError: If Kafka can't be used now.
    """
    user = options.user.encode()
    kafka, kwargs = settings.kafka, client_kwargs(settings.kafka)
    home = partitioner(kafka.partitioner, kafka.partitions)(user)
    changelog = TopicPartition(changelog_topic(settings.app_id, USER_BEHAVIOUR), home)
    requested_ms = clock.wall_ms()
    undo = read_foreign_headers()  # inputs may have any, and the search reads them all
    try:
        ends = await true_end_offsets(kafka.bootstrap_servers, [changelog], client_kwargs=kwargs)
        await _request(user, home, settings)
        # FOLD's last step: all the others come before it.
        carried_out = await tombstone_after(changelog, ends[changelog], user, kwargs, options.wait_seconds)
        places = [*await _topics(user, settings, clock), *_stores(user, settings)]
    except KafkaError as error:
        raise TransientError(
            f"the Kafka at {kafka.bootstrap_servers} can't be used ({error!r}): check that it runs and that the topics "
            "exist, then run the command again; an erasure may be asked for twice"
        ) from error
    finally:
        undo()
    secret = settings.privacy_rules().marker_secret
    return Report(marker_key(user, secret)[1:].hex(), requested_ms, carried_out, tuple(places))


async def _request(user: bytes, home: int, settings: Settings) -> None:
    kwargs = client_kwargs(settings.kafka)
    timestamp_ms = None
    if settings.virtual_time:  # the wall clock would end a replay's time
        tps = [
            TopicPartition(topic, partition)
            for topic in BEHAVIOUR_TOPICS
            for partition in range(settings.kafka.partitions)
        ]
        timestamp_ms = await newest_timestamp(tps, kwargs) or None
    value = orjson.dumps({"action": "erase", "user_id": user.decode()})
    producer = AIOKafkaProducer(acks="all", **kwargs)
    await producer.start()
    try:
        await producer.send_and_wait(CONTROL_TOPIC, value, user, home, timestamp_ms)
    finally:
        await producer.stop()


async def _topics(user: bytes, settings: Settings, clock: Clock) -> list[Place]:
    kafka, kwargs = settings.kafka, client_kwargs(settings.kafka)
    specs = [spec for spec in settings_topics(settings) if spec.name != CAMPAIGNS_TOPIC]
    configs = await topic_configs(
        kafka.bootstrap_servers, [spec.name for spec in specs], client_kwargs=kwargs
    )
    places = []
    for spec in specs:
        found = await search_topic(spec.name, spec.partitions, user, kwargs)
        place = topic_place(
            spec.name, found, configs[spec.name], compacted=spec.compacted, now_ms=clock.wall_ms()
        )
        places.append(_without_reference(place, found) if spec.name == TEXTS_TOPIC else place)
    return places


def _without_reference(place: Place, found: Found) -> Place:
    """Texts are shared and say of nobody; a text that is the id itself would be a hit."""
    return Place(
        place.place,
        "no reference",
        found.by_key,
        found.in_value,
        in_force=found.in_value > 0,
        gone_by_ms=None if found.in_value else 0,
    )


def _stores(user: bytes, settings: Settings) -> list[Place]:
    if settings.store.backend == "memory":
        return []
    places = []
    for table in (USER_BEHAVIOUR, USER_SCORES):
        found = stored_on_disk(settings.store.directory, table, user)
        where = f"{settings.store.directory / table} here"
        places.append(Place(where, "deleted", found, 0, in_force=found > 0, gone_by_ms=None if found else 0))
    return places
