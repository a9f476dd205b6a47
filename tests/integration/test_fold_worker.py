"""FOLD in a real worker process on a real broker: nothing is lost or counted twice over restarts."""

import asyncio
import signal
from pathlib import Path
from typing import Any

import pytest

from stream.clock import pause
from stream.embedded.broker import TansuBroker
from stream.events import DEAD_LETTER_TOPIC
from stream.state import decode_state
from stream.window import WindowPolicy
from tests.behaviour_feed import PARTITIONS, Fed, essence, events, expected_states, produce
from tests.brokers import Broker, recreate_topics
from tests.worker_process import WorkerProcess, latest_by_key, read_topic, total

#: The feed spans days of virtual time and topics are read one after the other: nothing of it may be late.
_POLICY = WindowPolicy(lateness_grace_ms=30 * 86_400_000)
_CHANGELOG = "{app}-user-behaviour-changelog"


@pytest.fixture
def app_id(broker: Broker) -> str:
    asyncio.run(recreate_topics(broker, "fold"))
    return "fold"


def _worker(directory: Path, broker: Broker, app_id: str, **settings: str) -> WorkerProcess:
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID=app_id,
        KAFKA__BROKER=broker.kind,
        WINDOW__LATENESS_GRACE_HOURS="720",
        **settings,
    )


def _states(broker: Broker, app_id: str) -> dict[bytes, Any]:
    records = asyncio.run(read_topic(broker.bootstrap_servers, _CHANGELOG.format(app=app_id), PARTITIONS))
    return {key: essence(decode_state(value)) for key, value in latest_by_key(records).items()}


def _expected(fed: list[Fed]) -> dict[bytes, Any]:
    return {key: essence(state) for key, state in expected_states(fed, _POLICY).items()}


def _wait_for_states(broker: Broker, app_id: str, expected: dict[bytes, Any]) -> None:
    """Until the changelog says what it must; the test's own assertion shows the difference if it never does."""
    for _ in range(120):
        if _states(broker, app_id) == expected:
            return
        pause(0.25)


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGKILL], ids=["SIGTERM", "SIGKILL"])
def test_the_state_after_a_restart_in_the_middle_is_that_of_one_pure_fold(
    broker: Broker, app_id: str, tmp_path: Path, ending: signal.Signals
) -> None:
    fed = events(6000)
    asyncio.run(produce(broker.bootstrap_servers, fed[:3000]))

    # Small bundles, so that the signal comes between two of them.
    with _worker(tmp_path, broker, app_id, KAFKA__BUNDLE_RECORDS="50") as worker:
        worker.until(lambda samples: total(samples, "events") >= 500)
        code = worker.end(ending)
        asyncio.run(produce(broker.bootstrap_servers, fed[3000:]))
        worker.start()
        worker.until(
            lambda samples: samples.get("interestflow_users", 0) > 0 and total(samples, "events") > 2000
        )
        _wait_for_states(broker, app_id, _expected(fed))
        samples = worker.scrape()
        ended = worker.end(signal.SIGTERM)

    assert code == (0 if ending is signal.SIGTERM else -9)
    assert ended == 0
    assert samples["interestflow_users"] == 200
    assert _states(broker, app_id) == _expected(fed)


def test_bad_records_are_dead_lettered_and_the_good_ones_around_them_fold(
    broker: Broker, app_id: str, tmp_path: Path
) -> None:
    fed = events(300)
    bad = [item._replace(value=b"{not json") for item in events(30, seed=8)]

    with _worker(tmp_path, broker, app_id) as worker:
        asyncio.run(produce(broker.bootstrap_servers, [*fed[:150], *bad, *fed[150:]]))
        samples = worker.until(lambda samples: total(samples, "events") >= 330)
        worker.end(signal.SIGTERM)

    letters = asyncio.run(read_topic(broker.bootstrap_servers, DEAD_LETTER_TOPIC, PARTITIONS))
    assert total(samples, "events") == 330
    assert total(samples, "dead_letters") == 30
    assert [letter.value for letter in letters] == [b"{not json"] * 30
    assert {dict(letter.headers)["interestflow.reason"] for letter in letters} == {b"json"}
    assert {key: state[0] for key, state in _states(broker, app_id).items()} == {
        key: state[0] for key, state in _expected(fed).items()
    }


@pytest.mark.embedded
def test_on_the_embedded_broker_a_second_worker_is_refused_and_the_first_goes_on(
    tansu: TansuBroker, tmp_path: Path
) -> None:
    broker = Broker("tansu", tansu.bootstrap_servers)
    asyncio.run(recreate_topics(broker, "alone"))
    fed = events(400)
    directories = [tmp_path / "first", tmp_path / "second"]
    for directory in directories:
        directory.mkdir()

    with _worker(directories[0], broker, "alone") as first:
        asyncio.run(produce(broker.bootstrap_servers, fed[:200]))
        first.until(lambda samples: total(samples, "events") >= 200)
        with _worker(directories[1], broker, "alone") as second:
            code = second.wait()
        asyncio.run(produce(broker.bootstrap_servers, fed[200:]))
        _wait_for_states(broker, "alone", _expected(fed))
        ended = first.end(signal.SIGTERM)

    assert code == 2
    assert "so another one works on the embedded broker" in second.log.splitlines()[-1]
    assert _states(broker, "alone") == _expected(fed)
    assert ended == 0
