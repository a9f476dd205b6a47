"""The lanes at work: the champion, and beside it a challenger in the shadow or for a share of the users."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from stream.clock import Clock
from stream.lane import Lane
from stream.metrics import Metrics
from stream.model.comparison import SharedInterests
from stream.model.judgement import Bounds, Judgement
from stream.rollout import ModelNames, Role, Rollout, goes_to_challenger


class Lanes:
    """Who scores whom now; swapped as a whole between two batches.

    Args:
        clock: For the judgement's window.
        metrics: Gets the versions in use.
        bounds: Of the challenger.
    """

    def __init__(self, clock: Clock, metrics: Metrics, bounds: Bounds) -> None:
        self._clock = clock
        self._metrics = metrics
        self._bounds = bounds
        self._lanes: dict[Role, Lane] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self.rollout: Rollout | None = None
        self.judgement = Judgement(bounds)
        #: Interests of both; None without a challenger.
        self.shared: SharedInterests | None = None
        #: Called after each change.
        self.changed: Callable[[], None] = lambda: None

    @property
    def champion(self) -> Lane:
        """Who scores all users that the challenger does not."""
        return self._lanes["champion"]

    @property
    def challenger(self) -> Lane | None:
        """Who is tried."""
        return self._lanes.get("challenger")

    def all(self) -> list[Lane]:
        """The champion, and the challenger if there is one."""
        return list(self._lanes.values())

    @contextmanager
    def held(self) -> Iterator[tuple[Lane, Lane | None]]:
        """Champion and challenger of one batch; a change closes them only afterwards."""
        champion, challenger = self.champion, self.challenger
        with champion.held():
            if challenger is None:
                yield champion, None
            else:
                with challenger.held():
                    yield champion, challenger

    def is_tried_on(self, user_id: bytes) -> bool:
        """Whether the challenger scores this user."""
        return self.challenger is not None and goes_to_challenger(self.rollout, user_id)

    def version_for(self, user_id: bytes) -> str:
        """Version that scores this user now."""
        lane = self._lanes["challenger" if self.is_tried_on(user_id) else "champion"]
        return lane.version

    def partner(self, lane: Lane) -> Lane | None:
        """Who scores the same users for the comparison, without being published."""
        if self.challenger is None or lane not in self._lanes.values():
            return None
        if lane is self.challenger:
            return self.champion
        # Of a canary only its own users are compared: it costs no more than they do.
        return self.challenger if self.rollout is not None and self.rollout.mode == "shadow" else None

    def judged(self, role: Role, answered: bool, seconds: float) -> None:  # noqa: FBT001 - see LaneParts.judged
        """Take note of a call."""
        self.judgement.call_ended(role, self._clock.monotonic_seconds(), answered=answered, seconds=seconds)

    def on_campaign(self, key: bytes | None, value: bytes | None) -> None:
        """Take in a campaign record for each lane's label set; counted once."""
        for lane in self.all():
            lane.campaigns.on_record(key, value, counted=lane.role == "champion")

    def put(self, rollout: Rollout | None, champion: Lane, challenger: Lane | None) -> None:
        """Let these score from the next batch on; lanes that are in neither role any more are closed."""
        before = self.all()
        wanted: dict[Role, Lane] = {"champion": champion}
        if challenger is not None:
            wanted["challenger"] = challenger
        for role, lane in wanted.items():
            if lane not in before and before:
                lane.campaigns.follow(before[0].campaigns)
            lane.take_role(
                role, ModelNames(role, champion.version, None if challenger is None else challenger.version)
            )
        self._lanes, self.rollout = wanted, rollout
        self.judgement = Judgement(self._bounds)
        self.shared = None if challenger is None else _shared(champion, challenger)
        self._name_versions()
        for lane in before:
            if lane not in wanted.values():
                task = asyncio.create_task(lane.close(), name=f"close-lane-{lane.version}")
                self._closing.add(task)
                task.add_done_callback(self._closing.discard)
        self.changed()

    async def close(self) -> None:
        """Close all of them."""
        for lane in self.all():
            await lane.close()
        await asyncio.gather(*self._closing)

    def _name_versions(self) -> None:
        self._metrics.model_info.clear()
        self._metrics.model_roles.clear()
        share = 0.0 if self.rollout is None or self.challenger is None else self.rollout.share
        self._metrics.challenger_share.set(share)
        for lane in self.all():
            self._metrics.model_roles.labels(lane.role, lane.version).set(1)
            for model in (lane.bundle.encoder, lane.bundle.head):
                self._metrics.model_info.labels(model.name, model.version).set(1)


def _shared(champion: Lane, challenger: Lane) -> SharedInterests:
    ids = [[interest.id for interest in lane.bundle.interests] for lane in (champion, challenger)]
    return SharedInterests(*ids)
