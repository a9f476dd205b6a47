"""The service's topics: which there are, making them, and checking that what is there fits.

Nothing here asks a broker for the metadata of a topic by name: brokers that create topics automatically
(Tansu always, Kafka by default) would make the missing topic, with a partition count that nobody chose.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from stream.errors import ConfigurationError, FatalError, PartitionMismatchError
from stream.events import (
    CAMPAIGNS_TOPIC,
)
from stream.refusal import why_refused
from stream.topic_limits import bound, fits
from stream.topic_specs import TopicSpec

_MESSAGE_BYTES: Final = "max.message.bytes"
#: Kafka's default is 1,048,588. A worker sends batches of up to 900,000 bytes and Kafka counts them whole.
_NEEDED_BYTES: Final = 1_000_000

_VISIBLE_TIMEOUT_SECONDS = 30.0
_VISIBLE_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not fit, or could not be checked."""

    topics: tuple[str, ...]
    message: str
    error: FatalError | None
    """What a worker stops with; None if it was only not checked."""


async def create_topics(
    bootstrap_servers: str,
    specs: Sequence[TopicSpec],
    *,
    replication_factor: int = 1,
    client_kwargs: Mapping[str, Any] | None = None,
) -> list[str]:
    """Names of the topics that were missing and now exist; those that existed are left as they are.

    Returns when every partition has a leader.

    Args:
        bootstrap_servers: `host:port`, several separated by commas.
        specs: what to create.
        replication_factor: copies of each partition.
        client_kwargs: further arguments of aiokafka clients, such as security.

    Raises:
        ConfigurationError: no broker answers, or one refuses to create a topic.
    """
    new = [
        NewTopic(spec.name, spec.partitions, replication_factor, None, spec.full_config()) for spec in specs
    ]
    async with _admin(bootstrap_servers, client_kwargs) as admin:
        response = await admin.create_topics(new)
        created, refused = [], []
        for name, code, told in response.topic_errors:
            if code == 0:
                created.append(name)
            elif code != TopicAlreadyExistsError.errno:
                refused.append(f"{name} ({for_code(code).__name__}: {told or 'no more is told'})")
        if refused:
            raise ConfigurationError(
                f"the broker at {bootstrap_servers} refused to create {', '.join(refused)}: mend what it names "
                f"(INTERESTFLOW_KAFKA__REPLICATION_FACTOR is {replication_factor}), or have an administrator "
                "create them and run `interestflow topics check`"
            )
        await _wait_until_led(admin, {spec.name for spec in specs})
    return created


async def check_topics(
    bootstrap_servers: str, specs: Sequence[TopicSpec], *, client_kwargs: Mapping[str, Any] | None = None
) -> list[Problem]:
    """What does not fit: missing topics, partition counts, configuration; then what could not be checked.

    Creates nothing.

    Args:
        bootstrap_servers: `host:port`, several separated by commas.
        specs: what should be there.
        client_kwargs: further arguments of aiokafka clients, such as security.

    Raises:
        ConfigurationError: no broker answers.
    """
    async with _admin(bootstrap_servers, client_kwargs) as admin:
        counts = {topic["topic"]: len(topic["partitions"]) for topic in await admin.describe_topics()}
        there = [spec for spec in specs if spec.name in counts]
        configs = await _describe(admin, [spec.name for spec in there])
    problems = [*_missing(specs, counts), *partition_problems(there, counts)]
    problems += [problem for spec in there for problem in _config_problems(spec, configs[spec.name])]
    return sorted(problems, key=lambda problem: problem.error is None)


async def require_topics(
    bootstrap_servers: str, specs: Sequence[TopicSpec], *, client_kwargs: Mapping[str, Any] | None = None
) -> list[Problem]:
    """The problems that only could not be checked, if there are no others.

    Raises:
        FatalError: the first real problem, as `check_topics` finds them.
    """
    problems = await check_topics(bootstrap_servers, specs, client_kwargs=client_kwargs)
    for problem in problems:
        if problem.error is not None:
            raise problem.error
    return problems


async def topic_configs(
    bootstrap_servers: str, names: Sequence[str], *, client_kwargs: Mapping[str, Any] | None = None
) -> dict[str, dict[str, str]]:
    """Configuration in force by topic; empty where the broker doesn't tell it.

    Raises:
        ConfigurationError: no broker answers.
    """
    async with _admin(bootstrap_servers, client_kwargs) as admin:
        return await _describe(admin, names)


def partition_problems(specs: Iterable[TopicSpec], counts: Mapping[str, int]) -> list[Problem]:
    """At most one: the co-partitioned topics differ, or agree on another count than the settings say.

    Args:
        specs: topics that exist.
        counts: partitions by topic.
    """
    needed = {spec.name: spec.partitions for spec in specs if spec.co_partitioned}
    found = {name: counts[name] for name in needed}
    if len(set(found.values())) > 1:
        return [_problem(tuple(sorted(found)), PartitionMismatchError(found))]
    wrong = sorted(name for name, partitions in needed.items() if found[name] != partitions)
    if not wrong:
        return []
    error = ConfigurationError(
        f"{', '.join(wrong)} have {found[wrong[0]]} partitions each, but INTERESTFLOW_KAFKA__PARTITIONS is "
        f"{needed[wrong[0]]}: set it to {found[wrong[0]]}, or recreate these topics"
    )
    return [_problem(tuple(wrong), error)]


@asynccontextmanager
async def _admin(
    bootstrap_servers: str, client_kwargs: Mapping[str, Any] | None
) -> AsyncIterator[AIOKafkaAdminClient]:
    admin = AIOKafkaAdminClient(**{**(client_kwargs or {}), "bootstrap_servers": bootstrap_servers})
    try:
        await admin.start()
        yield admin
    except KafkaError as error:
        reason = await why_refused({**(client_kwargs or {}), "bootstrap_servers": bootstrap_servers})
        raise ConfigurationError(
            f"the Kafka at {bootstrap_servers} can't be used ({error!r}): {reason}"
        ) from error
    finally:
        await admin.close()


async def _wait_until_led(admin: AIOKafkaAdminClient, names: set[str]) -> None:
    """Until every partition of these topics has a leader: right after creation a producer would still fail."""
    try:
        async with asyncio.timeout(_VISIBLE_TIMEOUT_SECONDS):
            while not names <= _led(await admin.describe_topics()):  # noqa: ASYNC110 - a broker has no event
                await asyncio.sleep(_VISIBLE_POLL_SECONDS)
    except TimeoutError as error:
        raise ConfigurationError(
            f"{', '.join(sorted(names))} were created, but not every partition had a leader after "
            f"{_VISIBLE_TIMEOUT_SECONDS:g} s: check the brokers' health"
        ) from error


def _led(topics: Iterable[Mapping[str, Any]]) -> set[str]:
    return {
        topic["topic"]
        for topic in topics
        if topic["partitions"] and all(partition["leader"] >= 0 for partition in topic["partitions"])
    }


async def _describe(admin: AIOKafkaAdminClient, names: Sequence[str]) -> dict[str, dict[str, str]]:
    """Configuration by topic; empty where the broker doesn't tell it."""
    configs: dict[str, dict[str, str]] = {name: {} for name in names}
    if not names:
        return configs
    try:
        responses = await admin.describe_configs(
            [ConfigResource(ConfigResourceType.TOPIC, name) for name in names]
        )
    except KafkaError:
        return configs  # a broker without that request
    for response in responses:
        for _code, _message, _type, name, entries in response.resources:
            configs[name] = {entry[0]: entry[1] for entry in entries}
    return configs


def _missing(specs: Iterable[TopicSpec], counts: Mapping[str, int]) -> list[Problem]:
    missing = tuple(spec.name for spec in specs if spec.name not in counts)
    if not missing:
        return []
    error = ConfigurationError(
        f"missing topics: {', '.join(missing)}: create them with `interestflow topics create`"
    )
    return [_problem(missing, error)]


def _config_problems(spec: TopicSpec, found: Mapping[str, str]) -> list[Problem]:
    problems = []
    unchecked = []
    for name, wanted in spec.full_config().items():
        if name not in found:
            unchecked.append(name)
        elif not fits(name, found[name], wanted):
            error = ConfigurationError(
                f"{spec.name} has {name}={found[name]}, it must be {bound(name, wanted)}: kafka-configs.sh --bootstrap-server … --alter "
                f"--entity-type topics --entity-name {spec.name} --add-config {name}={wanted}"
            )
            problems.append(_problem((spec.name,), error))
    if spec.name != CAMPAIGNS_TOPIC and int(found.get(_MESSAGE_BYTES, _NEEDED_BYTES)) < _NEEDED_BYTES:
        error = ConfigurationError(
            f"{spec.name} has {_MESSAGE_BYTES}={found[_MESSAGE_BYTES]}, batches of up to {_NEEDED_BYTES} are "
            f"sent to it: kafka-configs.sh --bootstrap-server … --alter --entity-type topics --entity-name {spec.name} "
            f"--add-config {_MESSAGE_BYTES}={_NEEDED_BYTES}"
        )
        problems.append(_problem((spec.name,), error))
    if unchecked:
        message = f"{', '.join(unchecked)} of {spec.name} not checked: the broker does not tell it"
        problems.append(Problem((spec.name,), message, None))
    return problems


def _problem(topics: tuple[str, ...], error: FatalError) -> Problem:
    return Problem(topics, str(error), error)
