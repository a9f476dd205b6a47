"""The Kafka of docker-compose.yml, as far as it goes without its image: the image's own set-up step, then the broker.

The apache/kafka image prepares its settings and storage with `KafkaDockerWrapper`, which is part of Kafka's jars.
"""

import os
import subprocess
from pathlib import Path

import pytest

from stream.embedded.ports import LOOPBACK, free_ports
from stream.embedded.probe import probe_cluster_id
from stream.embedded.process import ChildProcess
from stream.topic_specs import service_topics
from stream.topics import check_topics, create_topics
from tests.conftest import unavailable
from tests.deploy.compose_file import ROOT, load_compose
from tests.kafka_node import JAVA_FLAGS, KafkaUnavailableError, fetch_jars, find_java

pytestmark = pytest.mark.kafka

KAFKA = load_compose()["services"]["kafka"]
CLUSTER_ID = KAFKA["environment"]["CLUSTER_ID"]


@pytest.fixture
def java() -> list[str]:
    """Java on Kafka's classpath."""
    try:
        return [find_java(), *JAVA_FLAGS, "-cp", f"{fetch_jars()}/*"]
    except KafkaUnavailableError as error:
        unavailable(str(error))


def set_up(java: list[str], directory: Path, port: int) -> subprocess.CompletedProcess[str]:
    """Run the image's set-up; like `docker run -e KAFKA_...`, only places and ports differ from the compose file."""
    inner, controller = free_ports(2)
    final = directory / "final"
    final.mkdir(exist_ok=True)
    moved = {
        "KAFKA_LOG_DIRS": str(directory / "data"),
        "KAFKA_CONTROLLER_QUORUM_VOTERS": f"1@{LOOPBACK}:{controller}",
        "KAFKA_LISTENERS": f"INTERNAL://{LOOPBACK}:{inner},HOST://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller}",
        "KAFKA_ADVERTISED_LISTENERS": f"INTERNAL://{LOOPBACK}:{inner},HOST://{LOOPBACK}:{port}",
    }
    return subprocess.run(
        [
            *java,
            *("kafka.docker.KafkaDockerWrapper", "setup"),
            *("--default-configs-dir", str(directory)),
            *("--mounted-configs-dir", str(ROOT / "deploy" / "kafka")),
            *("--final-configs-dir", str(final)),
        ],
        env={"PATH": os.environ["PATH"], **KAFKA["environment"], **moved},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


async def test_the_image_sets_up_a_broker_that_takes_our_topics(java: list[str], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    topics = service_topics("interestflow", 4, virtual_time=False)
    address = f"{LOOPBACK}:{port}"

    prepared = set_up(java, tmp_path, port)
    broker = ChildProcess(
        "Apache Kafka of docker-compose.yml",
        [*java, "kafka.Kafka", str(tmp_path / "final" / "server.properties")],
        log_path=tmp_path / "kafka.log",
        stop_grace_seconds=30.0,
    )
    broker.start()
    try:
        broker.wait_until_ready(lambda: probe_cluster_id(LOOPBACK, port) == CLUSTER_ID, timeout_seconds=60.0)
        created = await create_topics(address, topics)
        problems = await check_topics(address, topics)
    finally:
        broker.stop()

    assert prepared.returncode == 0, prepared.stderr
    assert len(created) == len(topics)
    assert problems == []


def test_a_second_start_on_the_same_volume_is_recognised(java: list[str], tmp_path: Path) -> None:
    (port,) = free_ports(1)
    set_up(java, tmp_path, port)

    again = set_up(java, tmp_path, port)

    # The image's start script goes on if it reads this.
    assert "already formatted" in again.stdout + again.stderr
