"""One real Apache Kafka node (KRaft) for tests, started from its Maven jars on free loopback ports."""

import fcntl
import hashlib
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from stream.embedded.ports import LOOPBACK, free_ports
from stream.embedded.probe import probe_cluster_id
from stream.embedded.process import ChildProcess

POM = Path(__file__).parent / "kafka" / "pom.xml"
JAR_CACHE = Path(__file__).parents[1] / ".cache" / "kafka-jars"

# Any base64 UUID serves; a fixed one lets tests name it.
CLUSTER_ID = "aW50ZXJlc3RmbG93LXRzdA"
OLDEST_JAVA = 17
MAVEN_TIMEOUT_SECONDS = 150.0  # below pytest's 180 s, so that a hanging registry still ends as a skip
START_TIMEOUT_SECONDS = 60.0
JAVA_FLAGS = (
    *("-Xms128m", "-Xmx512m", "-XX:+UseSerialGC"),
    # A test node lives for seconds: the optimising compiler would only take the cores from the tests.
    *("-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Dlog4j2.level=WARN"),
)


class KafkaUnavailableError(Exception):
    """Kafka can't be had on this machine; the message is the reason, in one line."""


class KafkaNode:
    """A broker and controller in one process, as a context manager; keeps its address and data over restarts.

    Args:
        directory: where it keeps its data, settings and log.
        timestamp_type: default of message.timestamp.type: CreateTime or LogAppendTime.
        properties: more server properties; they win over ours.
        ports: of clients and of controllers; free ones if left out.
        listeners: security protocol of more listeners by their name, see `listener`.
        scram_users: passwords of users of SCRAM-SHA-512.

    Raises:
        KafkaUnavailableError: no Java, no Maven, or the jars can't be fetched.
    """

    def __init__(
        self,
        directory: Path,
        *,
        timestamp_type: str = "CreateTime",
        properties: Mapping[str, str] | None = None,
        ports: tuple[int, int] | None = None,
        listeners: Mapping[str, str] | None = None,
        scram_users: Mapping[str, str] | None = None,
    ) -> None:
        java = find_java()
        classpath = f"{fetch_jars()}/*"
        self._port, controller_port = ports or free_ports(2)
        settings = _properties(directory / "data", self._port, controller_port)
        self._scram_users = dict(scram_users or {})
        self._listeners = dict(zip(listeners or {}, free_ports(len(listeners or {})), strict=True))
        settings |= _more_listeners(settings, self._listeners, listeners or {})
        settings |= {"log.message.timestamp.type": timestamp_type} | dict(properties or {})
        self._settings_path = directory / "server.properties"
        self._settings_path.write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        self._java = [java, *JAVA_FLAGS, "-cp", classpath]
        self._process = ChildProcess(
            "Apache Kafka",
            [*self._java, "kafka.Kafka", str(self._settings_path)],
            log_path=directory / "kafka.log",
            stop_grace_seconds=30.0,
        )
        self._is_formatted = False
        self.start_seconds = 0.0

    @property
    def bootstrap_servers(self) -> str:
        """`host:port` for Kafka clients."""
        return f"{LOOPBACK}:{self._port}"

    def listener(self, name: str) -> str:
        """`host:port` of one of the more listeners."""
        return f"{LOOPBACK}:{self._listeners[name]}"

    @property
    def pid(self) -> int:
        """Process id of the running node."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.is_running

    def start(self) -> None:
        """Start it, formatting its storage the first time, and block until it answers Metadata."""
        self.launch()
        self.wait_until_ready()

    def launch(self) -> None:
        """Start it, formatting its storage the first time, and don't wait."""
        if not self._is_formatted:
            self._format()
            self._is_formatted = True
        self._process.start()

    def wait_until_ready(self) -> None:
        """Block until it answers Metadata."""
        self.start_seconds = self._process.wait_until_ready(
            lambda: probe_cluster_id(LOOPBACK, self._port) == CLUSTER_ID,
            timeout_seconds=START_TIMEOUT_SECONDS,
        )

    def stop(self) -> None:
        """Shut it down in order."""
        self._process.stop()

    def kill(self) -> None:
        """End it by SIGKILL, as a crash would; `start` recovers its data."""
        self._process.kill()

    def restart(self) -> None:
        """Shut it down in order and start it again."""
        self.stop()
        self.start()

    def _format(self) -> None:
        subprocess.run(
            [
                *self._java,
                "kafka.tools.StorageTool",
                "format",
                "-t",
                CLUSTER_ID,
                "-c",
                str(self._settings_path),
                *self._scram_arguments(),
            ],
            check=True,
            capture_output=True,
            timeout=START_TIMEOUT_SECONDS,
        )

    def _scram_arguments(self) -> list[str]:
        return [
            word
            for name, password in self._scram_users.items()
            for word in ("--add-scram", f"SCRAM-SHA-512=[name={name},password={password}]")
        ]

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.stop()


def find_java() -> str:
    """Path of a Java that can run Kafka.

    Raises:
        KafkaUnavailableError: there is none, or it is too old.
    """
    java = shutil.which("java")
    if java is None:
        raise KafkaUnavailableError(f"Apache Kafka needs Java {OLDEST_JAVA}, but there is no java on PATH")
    told = subprocess.run([java, "-version"], capture_output=True, text=True, check=False, timeout=60).stderr
    found = re.search(r'version "(\d+)', told)
    if found is None or int(found[1]) < OLDEST_JAVA:
        version = found[1] if found else "unknown"
        raise KafkaUnavailableError(
            f"Apache Kafka needs Java {OLDEST_JAVA}, but {java} has version {version}"
        )
    return java


def fetch_jars(pom: Path = POM, cache: Path = JAR_CACHE) -> Path:
    """Directory with the jars of that pom; fetched with Maven once per content of the pom.

    Raises:
        KafkaUnavailableError: there is no Maven, or it can't fetch them.
    """
    jars = cache / hashlib.sha256(pom.read_bytes()).hexdigest()[:16]
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # two test runs at once: the second finds what the first fetched
        if not jars.is_dir():
            # Fetched apart and renamed, so that a broken download is never taken for the whole.
            partial = jars.with_suffix(".partial")
            shutil.rmtree(partial, ignore_errors=True)
            _copy_dependencies(pom, partial)
            partial.rename(jars)
    return jars


def _copy_dependencies(pom: Path, target: Path) -> None:
    maven = shutil.which("mvn")
    if maven is None:
        raise KafkaUnavailableError(
            "Apache Kafka's jars are not in the cache and there is no mvn on PATH to fetch them"
        )
    goal = ["dependency:copy-dependencies", "-DincludeScope=runtime", f"-DoutputDirectory={target}"]
    try:
        done = subprocess.run(
            [maven, "-q", "-B", "-f", str(pom), *goal],
            capture_output=True,
            text=True,
            check=False,
            timeout=MAVEN_TIMEOUT_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise KafkaUnavailableError(
            f"mvn could not fetch Apache Kafka's jars within {MAVEN_TIMEOUT_SECONDS:g} s"
        ) from error
    if done.returncode != 0:
        errors = [line for line in done.stdout.splitlines() if "ERROR" in line]
        raise KafkaUnavailableError(
            f"mvn could not fetch Apache Kafka's jars: {errors[0] if errors else done.stderr}"
        )


def _properties(data: Path, port: int, controller_port: int) -> dict[str, str]:
    """Server properties of one small, fast node."""
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{LOOPBACK}:{controller_port}",
        "listeners": f"PLAINTEXT://{LOOPBACK}:{port},CONTROLLER://{LOOPBACK}:{controller_port}",
        "advertised.listeners": f"PLAINTEXT://{LOOPBACK}:{port}",
        "controller.listener.names": "CONTROLLER",
        "log.dirs": str(data),
        # A missing topic must show as one, not appear with a partition count that nobody chose.
        "auto.create.topics.enable": "false",
        # One node can hold one replica; few partitions make the first group join quick.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        "group.min.session.timeout.ms": "1000",
        # After a crash the node is let in again only when its former session has ended (default 9 s).
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
        # The default dedupe buffer (128 MB) is a quarter of the heap.
        "log.cleaner.dedupe.buffer.size": "16777216",
        "num.network.threads": "2",
        "num.io.threads": "2",
    }


def _more_listeners(
    settings: Mapping[str, str], ports: Mapping[str, int], protocols: Mapping[str, str]
) -> dict[str, str]:
    """The same properties with these listeners beside the plain ones."""
    if not ports:
        return {}
    addresses = "".join(f",{name}://{LOOPBACK}:{port}" for name, port in ports.items())
    kinds = "".join(f",{name}:{protocol}" for name, protocol in protocols.items())
    return {
        "listeners": settings["listeners"] + addresses,
        "advertised.listeners": settings["advertised.listeners"] + addresses,
        "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT" + kinds,
    }
