"""Topics are made and checked alike on the embedded broker and on Apache Kafka."""

from dataclasses import replace
from uuid import uuid4

import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from stream.embedded.broker import TansuBroker
from stream.embedded.ports import free_ports
from stream.errors import ConfigurationError, PartitionMismatchError
from stream.topic_specs import TopicSpec, service_topics
from stream.topics import check_topics, create_topics, require_topics
from tests.kafka_node import KafkaNode


@pytest.fixture(
    params=[
        pytest.param("tansu", marks=pytest.mark.embedded),
        pytest.param("kafka_node", marks=pytest.mark.kafka),
    ]
)
def bootstrap_servers(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(request.param).bootstrap_servers)


@pytest.fixture
def specs() -> list[TopicSpec]:
    """An input and a changelog, named apart from those of other tests."""
    prefix = uuid4().hex
    return [
        TopicSpec(f"{prefix}.input", 3, config={"message.timestamp.type": "CreateTime"}),
        TopicSpec(f"{prefix}.changelog", 3, compacted=True),
    ]


async def topic_names(bootstrap_servers: str) -> set[str]:
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap_servers)
    await admin.start()
    names = set(await admin.list_topics())
    await admin.close()
    return names


async def test_created_topics_have_no_problem(bootstrap_servers: str, specs: list[TopicSpec]) -> None:
    created = await create_topics(bootstrap_servers, specs)

    assert sorted(created) == sorted(spec.name for spec in specs)
    assert await check_topics(bootstrap_servers, specs) == []


async def test_the_services_own_topics_can_be_created_and_fit(bootstrap_servers: str) -> None:
    prefix = uuid4().hex
    specs = [
        replace(spec, name=f"{prefix}.{spec.name}") for spec in service_topics("shop", 2, virtual_time=True)
    ]

    created = await create_topics(bootstrap_servers, specs)

    assert len(created) == 14
    assert await require_topics(bootstrap_servers, specs) == []


async def test_creating_again_makes_only_what_is_missing(
    bootstrap_servers: str, specs: list[TopicSpec]
) -> None:
    await create_topics(bootstrap_servers, specs[:1])

    again = await create_topics(bootstrap_servers, specs)
    and_again = await create_topics(bootstrap_servers, specs)

    assert (again, and_again) == ([specs[1].name], [])


async def test_a_created_topic_takes_records_at_once(bootstrap_servers: str, specs: list[TopicSpec]) -> None:
    await create_topics(bootstrap_servers, specs)

    producer = AIOKafkaProducer(bootstrap_servers=bootstrap_servers)
    await producer.start()
    record = await producer.send_and_wait(specs[0].name, b"v", partition=2)
    await producer.stop()

    assert (record.topic, record.partition, record.offset) == (specs[0].name, 2, 0)


async def test_a_missing_topic_is_named_and_not_created_by_the_check(
    bootstrap_servers: str, specs: list[TopicSpec]
) -> None:
    await create_topics(bootstrap_servers, specs[:1])

    (problem,) = await check_topics(bootstrap_servers, specs)

    assert problem.message == (
        f"missing topics: {specs[1].name}: create them with `interestflow topics create`"
    )
    assert specs[1].name not in await topic_names(bootstrap_servers)


async def test_a_changelog_with_another_partition_count_is_a_mismatch(
    bootstrap_servers: str, specs: list[TopicSpec]
) -> None:
    wrong = [specs[0], replace(specs[1], partitions=5)]
    await create_topics(bootstrap_servers, wrong)

    with pytest.raises(PartitionMismatchError) as caught:
        await require_topics(bootstrap_servers, specs)

    assert caught.value.counts == {specs[0].name: 3, specs[1].name: 5}


async def test_a_changelog_that_also_deletes_is_refused(
    bootstrap_servers: str, specs: list[TopicSpec]
) -> None:
    changelog = specs[1]
    await create_topics(bootstrap_servers, [replace(changelog, config={"cleanup.policy": "compact,delete"})])

    with pytest.raises(
        ConfigurationError, match=r"has cleanup\.policy=compact,delete, it must be compact: kafka-conf"
    ):
        await require_topics(bootstrap_servers, [changelog])


async def test_an_input_with_the_other_clock_is_refused(
    bootstrap_servers: str, specs: list[TopicSpec]
) -> None:
    production = replace(specs[0], config={"message.timestamp.type": "LogAppendTime"})
    await create_topics(bootstrap_servers, [specs[0]])

    with pytest.raises(
        ConfigurationError, match=r"has message\.timestamp\.type=CreateTime, it must be LogAppendTime"
    ):
        await require_topics(bootstrap_servers, [production])


async def test_a_topic_that_would_refuse_our_batches_is_named(
    bootstrap_servers: str, specs: list[TopicSpec]
) -> None:
    small = replace(specs[1], config={"max.message.bytes": "500000"})
    await create_topics(bootstrap_servers, [small])

    with pytest.raises(
        ConfigurationError,
        match=r"has max\.message\.bytes=500000, batches of up to 1000000 are sent to it: kafka-conf",
    ):
        await require_topics(bootstrap_servers, [specs[1]])


@pytest.mark.embedded
async def test_what_a_broker_does_not_tell_is_not_checked_rather_than_wrong(
    tansu: TansuBroker, specs: list[TopicSpec]
) -> None:
    """Tansu tells only the configuration that a topic was created with; Kafka tells all of it."""
    await create_topics(tansu.bootstrap_servers, specs[:1])
    wanted = replace(specs[0], config={"min.insync.replicas": "1"})

    (problem,) = await require_topics(tansu.bootstrap_servers, [wanted])

    assert problem.error is None
    assert problem.message == f"min.insync.replicas of {wanted.name} not checked: the broker does not tell it"


@pytest.mark.kafka
async def test_a_refused_topic_is_named_with_the_brokers_reason(
    kafka_node: KafkaNode, specs: list[TopicSpec]
) -> None:
    servers = kafka_node.bootstrap_servers

    with pytest.raises(ConfigurationError) as caught:
        await create_topics(servers, specs, replication_factor=3)

    message = str(caught.value)
    assert (
        f"the broker at {servers} refused to create {specs[0].name} (InvalidReplicationFactorError: "
        in message
    )
    assert "INTERESTFLOW_KAFKA__REPLICATION_FACTOR is 3" in message


async def test_a_kafka_that_does_not_answer_is_named() -> None:
    servers = f"127.0.0.1:{free_ports(1)[0]}"

    with pytest.raises(
        ConfigurationError, match=rf"^the Kafka at {servers} can't be used \(KafkaConnectionError"
    ):
        await check_topics(servers, [])
