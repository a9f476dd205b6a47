"""The demo's servers on free loopback ports: embedded broker, bundled Triton, worker; and the data, read meanwhile."""

import asyncio
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from stream.ads.campaign import Campaign
from stream.demo.options import DemoOptions
from stream.demo.reporter import Reporter
from stream.demo.worker_child import WorkerChild, worker_settings
from stream.embedded.broker import TansuBroker
from stream.embedded.ports import LOOPBACK, free_ports, require_free_port
from stream.embedded.triton_server import BundledTriton
from stream.model.repository import ENCODER, HEAD, load_bundle
from stream.replay.campaign_orders import campaign_orders, publish_campaigns
from stream.replay.timed import TimedEvent
from stream.topic_specs import service_topics
from stream.topics import create_topics

PARTITIONS: Final = 4
_APP_ID: Final = "interestflow"
_CACHE: Final = Path(".cache/demo")
#: A visit of some minutes is over in a part of a second here; the worker's usual second between two scorings of one
#: user would be hours of virtual time.
_MIN_INTERVAL_SECONDS: Final = 0.1
#: A quiet user is looked at again at most once in so many real seconds; the usual day is 17 s at the usual speed, and
#: at a high speed all users would be looked at all the time.
_REVIEW_SECONDS: Final = 15.0
_REVIEW_HOURS: Final = (24.0, 24.0 * 90)


class Stack:
    """Broker, Triton and a ready worker, as a context manager that also gives the input.

    Raises:
        EmbeddedServerError: A wheel, libpython or a port is missing; before anything is started.
        ModelRepositoryError: The model repository does not fit; before anything is started.
    """

    def __init__(self, options: DemoOptions, reporter: Reporter) -> None:
        self._options = options
        self._reporter = reporter
        load_bundle(options.model_repository)  # what does not fit is better said now than in the worker's log
        self.broker = TansuBroker()
        self.triton = BundledTriton(options.model_repository, options.stub_python, models=[ENCODER, HEAD])
        if options.health_port is None:
            self.health_port = free_ports(1)[0]
        else:
            require_free_port(options.health_port, server="the worker's health server")
            self.health_port = options.health_port
        self.worker = WorkerChild(
            worker_settings(os.environ, self._settings()),
            self.health_port,
            _CACHE / f"worker-{self.health_port}.log",
        )
        #: Set by entering.
        self.campaigns: list[Campaign] = []
        self.events: Iterator[TimedEvent] = iter(())
        self._running = ExitStack()

    @property
    def client_kwargs(self) -> dict[str, str]:
        """How a Kafka client finds the broker."""
        return {"bootstrap_servers": self.broker.bootstrap_servers}

    def __enter__(self) -> Self:
        """Start everything, in order; what takes long is told to the reporter.

        Raises:
            FatalError: Something did not start; what did is stopped again.
        """
        with ExitStack() as starting:
            loader = starting.enter_context(ThreadPoolExecutor(1))
            loading = loader.submit(self._load)
            with self._reporter.step("embedded broker (Tansu)"):
                starting.enter_context(self.broker)
                asyncio.run(self._create_topics())
            with self._reporter.step("bundled Triton with both models"):
                starting.enter_context(self.triton)
            with self._reporter.step("worker"):
                starting.callback(self.worker.stop)
                self.worker.start()
            with self._reporter.step("The Complete Journey and its campaigns"):
                self.campaigns, self.events = loading.result()
                asyncio.run(publish_campaigns(self.campaigns, self.client_kwargs))
            self._running = starting.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, the worker first."""
        self._running.close()

    def _load(self) -> tuple[list[Campaign], Iterator[TimedEvent]]:
        return campaign_orders(), self._options.recording.events()

    async def _create_topics(self) -> None:
        specs = service_topics(_APP_ID, PARTITIONS, virtual_time=True)
        await create_topics(self.broker.bootstrap_servers, specs)

    def _settings(self) -> dict[str, str]:
        return {
            "APP_ID": _APP_ID,
            "VIRTUAL_TIME": "true",
            "KAFKA__BOOTSTRAP_SERVERS": self.broker.bootstrap_servers,
            "KAFKA__BROKER": "tansu",
            "KAFKA__PARTITIONS": str(PARTITIONS),
            # With Kafka's usual times the first join of this broker takes 30 s.
            "KAFKA__SESSION_TIMEOUT_SECONDS": "10",
            "KAFKA__REBALANCE_TIMEOUT_SECONDS": "12",
            "MODEL__REPOSITORY": str(self._options.model_repository.absolute()),
            "MODEL__GRPC_URL": self.triton.grpc_url,
            "MODEL__RESTRICTED_KEY": self.triton.admin_key,
            "STORE__DIRECTORY": str((_CACHE / "state").absolute()),
            "SCORE__MIN_INTERVAL_SECONDS": str(_MIN_INTERVAL_SECONDS),
            "SCORE__REVIEW_HOURS": f"{review_hours(self._options.recording.speed):g}",
            "HEALTH__HOST": LOOPBACK,
            "HEALTH__PORT": str(self.health_port),
        }


def review_hours(speed: float) -> float:
    """Virtual hours between two looks at a quiet user, for a replay of that speed."""
    least, most = _REVIEW_HOURS
    return min(max(least, speed * _REVIEW_SECONDS / 3600), most)
