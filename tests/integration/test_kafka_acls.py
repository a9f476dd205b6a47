"""A worker with exactly the rights of ``interestflow topics acls`` on a Kafka that forbids everything else."""

import asyncio
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.admin import CreateAclsRequest

from stream.acls import AclRule, worker_rules
from stream.errors import ConfigurationError
from stream.kafka_client import client_kwargs
from stream.kafka_settings import KafkaSettings
from stream.topic_specs import TopicSpec
from stream.topics import create_topics
from tests.behaviour_feed import PARTITIONS, events, produce
from tests.brokers import Broker, recreate_topics
from tests.conftest import unavailable
from tests.kafka_node import KafkaNode, KafkaUnavailableError
from tests.worker_process import WorkerProcess, read_topic, total

pytestmark = pytest.mark.kafka

_APP, _USER, _PASSWORD = "least", "worker", "correct-horse"
#: Kafka's numbers.
_RESOURCES = {"topic": 2, "group": 3, "transactional-id": 5}
_OPERATIONS = {"Read": 3, "Write": 4, "DescribeConfigs": 10}
_LITERAL, _PREFIXED, _ALLOW = 3, 4, 3


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaNode]:
    """On its plain listener everybody is the administrator; on the other one the worker has what it was given."""
    module = "org.apache.kafka.common.security.scram.ScramLoginModule required;"
    properties = {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",
        "sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.scram.scram-sha-512.sasl.jaas.config": module,
    }
    try:
        node = KafkaNode(
            tmp_path_factory.mktemp("guarded"),
            properties=properties,
            listeners={"SCRAM": "SASL_PLAINTEXT"},
            scram_users={_USER: _PASSWORD},
        )
    except KafkaUnavailableError as error:
        unavailable(str(error))
    with node:
        yield node


async def _give(node: KafkaNode, rules: tuple[AclRule, ...]) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=node.bootstrap_servers)
    await admin.start()
    try:
        for rule in rules:
            for operation in rule.operations:
                request = CreateAclsRequest(
                    _RESOURCES[rule.resource],
                    rule.name,
                    _PREFIXED if rule.is_prefix else _LITERAL,
                    f"User:{_USER}",
                    "*",
                    _OPERATIONS[operation],
                    _ALLOW,
                )
                response = await admin._send_request(request)
                assert [code for code, _ in response.creation_responses] == [0]
    finally:
        await admin.close()


def test_a_worker_works_with_these_rights_alone(guarded: KafkaNode, tmp_path: Path) -> None:
    asyncio.run(recreate_topics(Broker("kafka", guarded.bootstrap_servers), _APP))
    asyncio.run(_give(guarded, worker_rules(_APP)))
    fed = events(300)
    bad = [item._replace(value=b"{not json") for item in fed[:10]]
    astray = [item._replace(partition=(item.partition + 1) % PARTITIONS) for item in events(10, seed=9)]
    login = {
        "KAFKA__SECURITY_PROTOCOL": "SASL_PLAINTEXT",
        "KAFKA__SASL_MECHANISM": "SCRAM-SHA-512",
        "KAFKA__SASL_USERNAME": _USER,
        "KAFKA__SASL_PASSWORD": _PASSWORD,
    }

    with WorkerProcess(tmp_path, guarded.listener("SCRAM"), APP_ID=_APP, **login) as worker:
        asyncio.run(produce(guarded.bootstrap_servers, [*fed, *bad, *astray]))
        samples = worker.until(lambda samples: total(samples, "events") >= 330)
        code = worker.end(signal.SIGTERM)
        log = worker.log

    texts = asyncio.run(read_topic(guarded.bootstrap_servers, "catalog.texts", PARTITIONS))
    assert total(samples, "dead_letters") == 10
    assert texts
    assert code == 0
    assert "uthorization" not in log


async def test_the_worker_may_create_nothing(guarded: KafkaNode) -> None:
    settings = KafkaSettings.model_validate(
        {
            "bootstrap_servers": guarded.listener("SCRAM"),
            "security_protocol": "SASL_PLAINTEXT",
            "sasl_mechanism": "SCRAM-SHA-512",
            "sasl_username": _USER,
            "sasl_password": _PASSWORD,
        }
    )

    with pytest.raises(ConfigurationError, match=r"refused to create mine \(TopicAuthorizationFailedError"):
        await create_topics(
            settings.bootstrap_servers, [TopicSpec("mine", 1)], client_kwargs=client_kwargs(settings)
        )
