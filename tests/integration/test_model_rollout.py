"""Models change under a running worker: shadow, canary, promotion, rollback by hand and by itself; real Triton."""

import asyncio
import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from stream.embedded.triton_server import BundledTriton, TritonOptions
from stream.events import ROLLOUT_TOPIC, UPDATES_TOPIC
from stream.kafka_settings import KafkaSettings
from stream.rollout import Rollout, goes_to_challenger
from stream.rollout_orders import order_promotion, order_rollback, order_trial, standing
from stream.setting_sections import ModelSettings
from stream.settings import Settings
from tests.behaviour_feed import PARTITIONS, Fed, events, produce
from tests.brokers import Broker, recreate_topics
from tests.toy_repository import write_toy_repository
from tests.worker_process import WorkerProcess, latest_by_key, loads, read_topic, total

_APP_ID = "rollout"
_CATEGORIES = ("fluid milk", "bread", "cheese", "tea", "coffee")
_USERS = 60
_STEP = 240


class Shop:
    """A broker, a Triton, a worker, and what was fed."""

    def __init__(
        self, broker: Broker, triton: BundledTriton, repository: Path, worker: WorkerProcess
    ) -> None:
        self.broker = broker
        self.repository = repository
        self.worker = worker
        self._fed = _feed()
        self._sent = 0
        self.settings = Settings(
            app_id=_APP_ID,
            kafka=KafkaSettings(bootstrap_servers=broker.bootstrap_servers, broker=broker.kind),
            model=ModelSettings(
                repository=repository,
                grpc_url=triton.grpc_url,
                restricted_key=triton.admin_key,
            ),
        )

    def feed(self) -> None:
        """One step more, until nobody is due."""
        asyncio.run(produce(self.broker.bootstrap_servers, self._fed[self._sent : self._sent + _STEP]))
        self._sent += _STEP
        self.worker.until(self._is_calm)

    def _is_calm(self, now: Mapping[str, float]) -> bool:
        return bool(total(now, "events") >= self._sent and now["interestflow_due_users"] == 0)

    def until_roles(self, champion: str, challenger: str | None) -> None:
        """Wait until the worker follows."""
        wanted = {f"interestflow_model_roles|champion|{champion}"}
        if challenger is not None:
            wanted.add(f"interestflow_model_roles|challenger|{challenger}")
        self.worker.until(lambda now: {name for name in now if "model_roles" in name} == wanted)

    def models(self) -> dict[bytes, dict[str, Any]]:
        """The model of each user's last update."""
        records = asyncio.run(read_topic(self.broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
        return {key: loads(value)["model"] for key, value in latest_by_key(records).items()}

    def fallbacks(self) -> float:
        """Updates that no model gave."""
        now = self.worker.scrape()
        sources = ("cached", "profile", "none")
        return sum(now.get(f"interestflow_interest_updates_total|{source}", 0.0) for source in sources)


def _feed() -> list[Fed]:
    fed = events(8 * _STEP, users=_USERS)
    for number, category in enumerate(_CATEGORIES):
        for shift in range(0, 20, len(_CATEGORIES)):
            old, new = f'"category {number + shift}"'.encode(), f'"{category}"'.encode()
            fed = [item._replace(value=(item.value or b"").replace(old, new)) for item in fed]
    return fed


@pytest.fixture
def shop(broker: Broker, stub_python: Path, tmp_path: Path) -> Iterator[Shop]:
    asyncio.run(recreate_topics(broker, _APP_ID))
    repository = write_toy_repository(tmp_path / "models")
    options = TritonOptions(cache_directory=tmp_path / "triton", exit_timeout_seconds=3)
    with BundledTriton(
        repository, stub_python, models=["behaviour_encoder", "interest_head"], options=options
    ) as triton:
        worker = WorkerProcess(
            tmp_path,
            broker.bootstrap_servers,
            APP_ID=_APP_ID,
            KAFKA__BROKER=broker.kind,
            WINDOW__LATENESS_GRACE_HOURS="720",
            MODEL__ENABLED="true",
            MODEL__REPOSITORY=str(repository),
            MODEL__GRPC_URL=triton.grpc_url,
            MODEL__RESTRICTED_KEY=triton.admin_key,
            MODEL__BATCH_ROWS="8",
            SCORE__MIN_INTERVAL_SECONDS="0.1",
            SCORE__RETRY_SECONDS="0.5",
            SCORE__REVIEW_HOURS="2160",
            ROLLOUT__LEAST_ROWS="10",
            ROLLOUT__LEAST_CALLS="5",
            # A machine that is busy must not look like a slow challenger.
            ROLLOUT__LATENCY_FLOOR_SECONDS="30",
        )
        with worker:
            yield Shop(broker, triton, repository, worker)


def test_a_version_goes_from_the_shadow_over_a_canary_to_all_users_and_back_without_a_fallback(
    shop: Shop,
) -> None:
    shop.feed()
    assert {model["version"] for model in shop.models().values()} == {"1"}

    write_toy_repository(shop.repository, version="2", scale=1.05)
    asyncio.run(order_trial(shop.settings, "2", None))
    shop.until_roles("1", "2")
    shop.feed()
    _assert_compared(shop)

    order = asyncio.run(order_trial(shop.settings, "2", 0.5))
    shop.worker.until(lambda now: now["interestflow_challenger_share_ratio"] == 0.5)
    shop.feed()
    _assert_split(shop.models(), order)

    scored = shop.worker.scrape()["interestflow_users_scored_total|model"]
    retired = sum(model["version"] == "1" for model in shop.models().values())
    asyncio.run(order_promotion(shop.settings, "2"))
    shop.until_roles("2", None)
    # Without any news of them, those whom version 1 scored are scored again, and no one else.
    now = shop.worker.until(lambda now: now["interestflow_users_scored_total|model"] >= scored + retired)
    assert now["interestflow_users_scored_total|model"] == scored + retired
    shop.feed()
    assert {(model["version"], model["role"]) for model in shop.models().values()} == {("2", "champion")}

    asyncio.run(order_rollback(shop.settings, "a person said so"))
    shop.until_roles("1", None)
    assert shop.fallbacks() == 0
    assert shop.worker.end(signal.SIGTERM) == 0
    shop.worker.start()
    # The newest version is 2, but the rollout pins 1.
    shop.until_roles("1", None)
    lines = asyncio.run(standing(shop.settings)).lines
    assert [(line.version, line.roles, line.served[:6]) for line in lines] == [
        ("1", "champion", "served"),
        ("2", "-", "served"),
    ]


def _assert_compared(shop: Shop) -> None:
    now = shop.worker.until(lambda now: now["interestflow_challenger_score_difference"] > 0)
    assert now["interestflow_challenger_score_difference"] < 0.05
    assert 1.0 < now["interestflow_challenger_score_ratio"] < 1.25
    assert now["interestflow_challenger_top_overlap_ratio"] > 0.9
    assert {(model["version"], model["role"]) for model in shop.models().values()} == {("1", "champion")}


def _assert_split(models: Mapping[bytes, dict[str, Any]], order: Rollout) -> None:
    for key, model in models.items():
        tried = goes_to_challenger(order, key)
        assert (model["version"], model["role"]) == (("2", "challenger") if tried else ("1", "champion"))
        assert (model["champion"], model["challenger"]) == ("1", "2")


def test_a_canary_that_expects_far_more_purchases_is_taken_back_by_itself(shop: Shop) -> None:
    shop.feed()
    write_toy_repository(shop.repository, version="2", scale=8.0)
    order = asyncio.run(order_trial(shop.settings, "2", 0.5))
    shop.until_roles("1", "2")

    shop.feed()
    now = shop.worker.until(lambda now: total(now, "model_rollbacks") > 0)
    shop.until_roles("1", None)
    shop.feed()

    assert now["interestflow_model_rollbacks_total|score_shift"] == 1
    back = asyncio.run(standing(shop.settings)).rollout
    assert back is not None
    assert (back.champion, back.challenger, back.based_on) == ("1", None, order.rollout_id)
    assert back.reason.startswith("score_shift: the challenger expects ")
    assert {model["version"] for model in shop.models().values()} == {"1"}
    assert shop.fallbacks() == 0


def test_a_canary_that_does_not_answer_costs_its_users_nothing_and_is_taken_back(
    shop: Shop,
) -> None:
    shop.feed()
    write_toy_repository(shop.repository, version="2")
    asyncio.run(order_trial(shop.settings, "2", 0.5))
    shop.until_roles("1", "2")

    os.kill(_process_of(shop.repository / "interest_head" / "2"), signal.SIGKILL)
    shop.feed()
    now = shop.worker.until(lambda now: total(now, "model_rollbacks") > 0)
    shop.until_roles("1", None)
    shop.feed()

    assert now["interestflow_model_rollbacks_total|failed_calls"] == 1
    assert now["interestflow_model_breaker_open|interest_head"] == 0
    assert {model["version"] for model in shop.models().values()} == {"1"}
    assert shop.fallbacks() == 0


def test_a_record_that_is_no_rollout_changes_nothing(shop: Shop) -> None:
    shop.feed()
    bad = Fed(ROLLOUT_TOPIC, 0, _APP_ID.encode(), b'{"champion": "9"}', 0)

    asyncio.run(produce(shop.broker.bootstrap_servers, [bad]))
    shop.feed()

    shop.until_roles("1", None)
    assert asyncio.run(standing(shop.settings)).rollout is None
    assert "rollout_rejected" in shop.worker.log


def test_a_champion_that_is_not_deployed_is_said_and_the_old_one_goes_on(shop: Shop) -> None:
    shop.feed()
    order = Rollout(rollout_id="too early", champion="9", changed_at_ms=1)
    asyncio.run(
        produce(
            shop.broker.bootstrap_servers,
            [Fed(ROLLOUT_TOPIC, 0, _APP_ID.encode(), order.to_bytes(), 0)],
        )
    )

    shop.worker.until(lambda now: now["interestflow_model_rollout_pending"] == 1)
    problems = shop.worker.readiness()
    shop.feed()

    assert any(problem.startswith("version 9 is to be the champion and is not: ") for problem in problems)
    assert shop.fallbacks() == 0
    assert {model["version"] for model in shop.models().values()} == {"1"}
    assert shop.worker.end(signal.SIGTERM) == 0
    shop.worker.start()
    assert shop.worker.wait() == 3
    assert "interest_head has no version 9 (it has 1): deploy that version" in shop.worker.log


def _process_of(version: Path) -> int:
    """The stub of a version, by the path of its model.py."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"{version}/model.py".encode() in (process / "cmdline").read_bytes():
                return int(process.name)
        except OSError:  # it ended while we looked
            continue
    raise LookupError(f"no process of {version}")
