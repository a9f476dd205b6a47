"""Three Apache Kafka nodes (KRaft) from the same jars: three replicas of everything, two of them must be in sync."""

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stream.embedded.ports import LOOPBACK, free_ports
from tests.kafka_node import KafkaNode

NODES: Final = 3


class KafkaCluster:
    """Brokers and controllers in three processes, as a context manager; they keep addresses and data over restarts.

    Args:
        directory: where each keeps its data, settings and log.
        properties: more server properties for all; they win over ours.

    Raises:
        KafkaUnavailableError: no Java, no Maven, or the jars can't be fetched.
    """

    def __init__(self, directory: Path, *, properties: Mapping[str, str] | None = None) -> None:
        ports = free_ports(2 * NODES)
        places = list(zip(ports[::2], ports[1::2], strict=True))
        voters = ",".join(
            f"{number}@{LOOPBACK}:{controller}" for number, (_, controller) in enumerate(places, start=1)
        )
        self.nodes = []
        for number, place in enumerate(places, start=1):
            own = directory / f"node-{number}"
            own.mkdir(parents=True)
            of_node = {"node.id": str(number), "controller.quorum.voters": voters}
            self.nodes.append(
                KafkaNode(own, properties={**_REPLICATED, **of_node, **(properties or {})}, ports=place)
            )

    @property
    def bootstrap_servers(self) -> str:
        """All of them, for Kafka clients."""
        return ",".join(node.bootstrap_servers for node in self.nodes)

    def start(self) -> None:
        """Start all, then wait for each: one alone has no quorum."""
        for node in self.nodes:
            node.launch()
        for node in self.nodes:
            node.wait_until_ready()

    def stop(self) -> None:
        """End all at once: there is no one left to hand leadership to."""
        for node in self.nodes:
            node.kill()

    def __enter__(self) -> Self:
        """Start it."""
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


_REPLICATED: Final = {
    "default.replication.factor": "3",
    "min.insync.replicas": "2",
    "offsets.topic.replication.factor": "3",
    "transaction.state.log.replication.factor": "3",
    "transaction.state.log.min.isr": "2",
}
