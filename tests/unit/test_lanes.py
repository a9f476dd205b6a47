"""Who scores whom, and what becomes of a lane that is no longer wanted; no server is asked."""

import asyncio
from pathlib import Path

import numpy as np
import orjson
import pytest
from prometheus_client import CollectorRegistry

from stream.errors import ConfigurationError
from stream.lane import Lane, LaneParts
from stream.lanes import Lanes
from stream.metrics import Metrics
from stream.model.failures import FailureKind
from stream.model.images import ImageCatalogue
from stream.model.item_vectors import ItemEncoder
from stream.model.judgement import Bounds
from stream.model.repository import HEAD, load_bundle
from stream.model.vectors import VectorCache
from stream.rollout import Role, Rollout, goes_to_challenger
from stream.setting_sections import ModelSettings, WindowSettings
from stream.settings import Settings
from tests.fakes_model import SteppedClock
from tests.toy_repository import add_projection, write_toy_repository

USERS = [f"user-{number}".encode() for number in range(50)]
CAMPAIGN = {
    "cid": "spring",
    "name": "spring",
    "seat": "shop",
    "starts_at_ms": 1_700_000_000_000,
    "ends_at_ms": 1_800_000_000_000,
    "status": "active",
    "bid_cpm": 1.0,
    "creatives": [{"crid": "spring-1", "title": "Tea", "categories": ["Tea"]}],
}


class Line:
    """A repository of three versions and the lanes over it."""

    def __init__(self, repository: Path) -> None:
        for version in ("1", "2", "3"):
            write_toy_repository(repository, labels=3, dimensions=8, version=version)
        self.repository = repository
        self.registry = CollectorRegistry()
        self.metrics = Metrics(self.registry)
        self.clock = SteppedClock()
        self.lanes = Lanes(self.clock, self.metrics, Bounds(least_calls=4))
        self.changes = 0
        self.lanes.changed = self._count

    def _count(self) -> None:
        self.changes += 1

    def lane(
        self,
        version: str,
        role: Role,
        window: WindowSettings | None = None,
        images: ImageCatalogue | None = None,
    ) -> Lane:
        settings = Settings(
            model=ModelSettings(repository=self.repository, grpc_url="127.0.0.1:1"),
            window=window or WindowSettings(),
        )
        parts = LaneParts(settings, self.clock, self.metrics, VectorCache(100), self.lanes.judged, images)
        return Lane(load_bundle(self.repository, version), parts, role)

    def put(self, mode: str, share: float = 0.0) -> None:
        challenger = None if mode == "none" else self.lane("2", "challenger")
        rollout = Rollout.model_validate(
            {
                "rollout_id": "first",
                "champion": "1",
                "challenger": None if challenger is None else "2",
                "mode": mode,
                "share": share,
                "changed_at_ms": 1,
            }
        )
        self.lanes.put(rollout, self.lane("1", "champion"), challenger)

    def sample(self, name: str, **labels: str) -> float | None:
        return self.registry.get_sample_value(f"interestflow_{name}", labels)


@pytest.fixture
def line(tmp_path: Path) -> Line:
    return Line(tmp_path)


async def test_without_a_challenger_the_champion_scores_everybody(line: Line) -> None:
    line.put("none")

    assert {line.lanes.version_for(user) for user in USERS} == {"1"}
    assert line.lanes.partner(line.lanes.champion) is None
    assert line.sample("model_roles", role="champion", version="1") == 1


async def test_a_challenger_in_the_shadow_scores_nobody_and_is_compared_with_the_champion(line: Line) -> None:
    line.put("shadow")

    assert {line.lanes.version_for(user) for user in USERS} == {"1"}
    assert line.lanes.partner(line.lanes.champion) is line.lanes.challenger
    assert line.sample("challenger_share_ratio") == 0


async def test_a_canary_scores_its_share_and_only_those_are_compared(line: Line) -> None:
    line.put("canary", share=0.5)
    champion, challenger = line.lanes.champion, line.lanes.challenger
    assert challenger is not None

    for user in USERS:
        assert line.lanes.version_for(user) == ("2" if goes_to_challenger(line.lanes.rollout, user) else "1")
    assert line.lanes.partner(challenger) is champion
    assert line.lanes.partner(champion) is None
    assert line.sample("challenger_share_ratio") == 0.5


async def test_a_lane_is_closed_only_when_no_batch_uses_it_any_more(line: Line) -> None:
    line.put("none")
    old = line.lanes.champion
    with line.lanes.held():
        line.lanes.put(None, line.lane("3", "champion"), None)
        await asyncio.sleep(0.12)
        assert old.in_use
    await asyncio.sleep(0.12)

    assert not old.in_use
    assert line.lanes.version_for(b"anyone") == "3"
    await line.lanes.close()


async def test_a_new_lane_knows_the_campaigns_of_the_one_before(line: Line) -> None:
    line.put("none")
    line.lanes.on_campaign(b"spring", orjson.dumps(CAMPAIGN))

    line.put("shadow")

    challenger = line.lanes.challenger
    assert challenger is not None
    assert [row.campaign.cid for row in challenger.campaigns.snapshot.rows] == ["spring"]


async def test_a_bad_campaign_is_counted_once_however_many_lanes_there_are(line: Line) -> None:
    line.put("shadow")

    line.lanes.on_campaign(b"spring", b"{}")

    total = sum(
        sample.value
        for family in line.registry.collect()
        for sample in family.samples
        if sample.name == "interestflow_ad_campaigns_rejected_total"
    )
    assert total == 1


async def test_an_ill_challenger_does_not_look_like_an_ill_model(line: Line) -> None:
    line.put("canary", share=0.5)
    challenger = line.lanes.challenger
    assert challenger is not None

    challenger.breaker_moved(HEAD, is_open=True)
    challenger.call_ended(HEAD, FailureKind.DEADLINE, 3, 2.0)

    assert line.sample("model_breaker_open", model=HEAD) == 0
    assert line.sample("model_calls_total", model=HEAD, outcome="deadline") is None
    assert line.sample("challenger_calls_total", model=HEAD, outcome="deadline") == 1


async def test_calls_of_both_are_judged_and_cancelled_ones_are_not(line: Line) -> None:
    line.put("canary", share=0.5)
    champion, challenger = line.lanes.champion, line.lanes.challenger
    assert challenger is not None

    for _ in range(4):
        champion.call_ended(HEAD, "ok", 8, 0.01)
        challenger.call_held_back(HEAD)
        challenger.call_ended(HEAD, "cancelled", 8, 0.01)

    seen = line.lanes.judgement.seen(line.clock.monotonic_seconds())
    assert (seen.calls, seen.failed_ratio, seen.champion_failed_ratio) == (4, 1.0, 0.0)


async def test_every_change_is_told_and_begins_a_new_judgement(line: Line) -> None:
    line.put("shadow")
    first = line.lanes.judgement

    line.put("canary", share=0.1)

    assert line.changes == 2
    assert line.lanes.judgement is not first


async def test_a_version_of_another_interest_level_is_refused(line: Line) -> None:
    with pytest.raises(ConfigurationError, match="INTEREST_LEVEL is 3, the model was trained with 2"):
        line.lane("1", "champion", WindowSettings(interest_level=3))


def images(dimensions: int) -> ImageCatalogue:
    return ImageCatalogue(["cup"], np.eye(1, dimensions, dtype=np.float16), "00")


async def test_only_a_version_with_a_projection_and_a_catalogue_fuses_images(line: Line) -> None:
    add_projection(line.repository / HEAD / "2", np.ones((8, 5)), weight=0.5)

    assert isinstance(line.lane("2", "challenger", images=images(5)).encoder, ItemEncoder)
    for plain in (line.lane("1", "champion", images=images(5)), line.lane("2", "challenger")):
        assert not isinstance(plain.encoder, ItemEncoder)


async def test_a_catalogue_of_another_size_is_refused(line: Line) -> None:
    add_projection(line.repository / HEAD / "1", np.ones((8, 5)), weight=0.5)

    with pytest.raises(ConfigurationError, match="has vectors of 4 numbers, version 1 takes 5"):
        line.lane("1", "champion", images=images(4))


async def test_images_are_counted_by_whether_the_catalogue_has_them(line: Line) -> None:
    line.put("none")

    line.lanes.champion.images_looked_up(3, 2)

    assert line.sample("image_lookups_total", outcome="found") == 3
    assert line.sample("image_lookups_total", outcome="unknown") == 2
