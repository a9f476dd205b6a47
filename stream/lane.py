"""A lane: one model version with all that depends on it in a worker, as champion or as challenger.

Its client, vectors, campaigns by its label set, and results. A lane that is no longer wanted is closed once no batch
uses it any more.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import structlog

from stream.ads.decide import AdPolicy
from stream.ads.response import ResponseModel
from stream.ads.snapshot import InterestRows
from stream.campaigns import Campaigns
from stream.clock import Clock
from stream.errors import ConfigurationError
from stream.metrics import Metrics
from stream.model.access import triton_access
from stream.model.control import RepositoryControl
from stream.model.images import ImageCatalogue
from stream.model.item_vectors import ItemEncoder, item_images
from stream.model.readable import ReadableTexts
from stream.model.repository import HEAD, ModelBundle
from stream.model.reviver import Reviver
from stream.model.tokens import Tokeniser
from stream.model.triton import CallPolicy, TritonModel
from stream.model.vectors import TextEncoder, VectorCache
from stream.results import ResultBuilder, ResultRules
from stream.rollout import ModelNames, Role
from stream.setting_sections import AdSettings, ModelSettings
from stream.settings import Settings

log = structlog.get_logger(__name__)

_CANCELLED: Final = "cancelled"
#: Far beyond the deadline of any call.
_CLOSE_SECONDS: Final = 60.0


class LaneParts(NamedTuple):
    """What every lane is made of."""

    settings: Settings
    clock: Clock
    metrics: Metrics
    vectors: VectorCache
    judged: Callable[[Role, bool, float], None]
    """Told of each call of the head: whose, whether it was answered, seconds."""
    images: ImageCatalogue | None = None
    """None: items are known by their texts alone."""


class Lane:
    """One model version at work; also the ``ModelObserver`` of its own calls.

    Args:
        bundle: The version.
        parts: See ``LaneParts``.
        role: May change: a challenger that is promoted goes on as the champion.

    Raises:
        ConfigurationError: Its interests are categories of another level than the profiles count.
    """

    def __init__(self, bundle: ModelBundle, parts: LaneParts, role: Role) -> None:
        settings = parts.settings
        require_level(settings, bundle)
        self.bundle = bundle
        self.version = bundle.head.version
        self._parts = parts
        self._role = role
        self._open = {model.name: False for model in (bundle.encoder, bundle.head)}
        self._uses = 0
        self.model = TritonModel(
            settings.model.grpc_url,
            bundle,
            policy=CallPolicy(settings.model.deadline_seconds),
            clock=parts.clock,
            observer=self,
            access=triton_access(settings.model),
        )
        self.readable = ReadableTexts(Tokeniser(bundle.tokenizer_path, bundle.max_tokens, bundle.buckets))
        self.encoder = self._encoder()
        privacy = settings.privacy_rules()
        self.campaigns = Campaigns(
            InterestRows(bundle.row_by_category, bundle.interest_vectors, privacy.sensitive), parts.metrics
        )
        self.results = ResultBuilder(
            ResultRules(
                bundle=bundle,
                settings=settings.score,
                policy=ad_policy(settings.ads) if settings.ads.enabled else None,
                response=ResponseModel.from_manifest({"ad_response": bundle.ad_response}),
                privacy=privacy,
            )
        )
        self.reviver = Reviver(repository_control(settings.model), parts.clock, parts.metrics)

    def _encoder(self) -> TextEncoder:
        bundle, parts = self.bundle, self._parts
        images = item_images(parts.images, bundle)
        if images is None:
            return TextEncoder(self.model, bundle.encoder_version, parts.vectors, observer=self)
        return ItemEncoder(self.model, bundle.encoder_version, parts.vectors, images, observer=self)

    @property
    def role(self) -> Role:
        """Champion or challenger."""
        return self._role

    @property
    def in_use(self) -> bool:
        """Whether a batch uses it."""
        return self._uses > 0

    def take_role(self, role: Role, names: ModelNames) -> None:
        """Be that from now on, and say so in each message."""
        self._role = role
        self.results.names = names
        if role == "champion":
            for model, is_open in self._open.items():
                self._parts.metrics.breaker_open.labels(model).set(is_open)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Not closed meanwhile."""
        self._uses += 1
        try:
            yield
        finally:
            self._uses -= 1

    async def close(self) -> None:
        """Close the connections once no batch uses them."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                while self._uses:  # noqa: ASYNC110 - rare, and no batch should have to notify
                    await asyncio.sleep(0.05)
        except TimeoutError:
            log.warning("lane_closed_in_use", version=self.version, uses=self._uses)
        await self.encoder.close()
        await self.model.close()

    # -- model observer -----------------------------------------------------------------------------------------

    def call_ended(self, model: str, outcome: str, rows: int, seconds: float) -> None:
        """See ``ModelObserver``."""
        metrics = self._parts.metrics
        if self._role == "challenger":
            # Apart: an ill challenger must not look like an ill model.
            metrics.challenger_calls.labels(model, outcome).inc()
            metrics.challenger_seconds.labels(model).observe(seconds)
        else:
            metrics.model_calls.labels(model, outcome).inc()
            metrics.model_seconds.labels(model).observe(seconds)
            metrics.model_rows.labels(model).observe(rows)
            # Not for a challenger: loading anew stops the champion's version, too.
            self.reviver.call_ended(model, outcome)
        if model == HEAD and outcome != _CANCELLED:
            self._parts.judged(self._role, outcome == "ok", seconds)

    def call_held_back(self, model: str) -> None:
        """See ``ModelObserver``."""
        metrics = self._parts.metrics
        calls = metrics.challenger_calls if self._role == "challenger" else metrics.model_calls
        calls.labels(model, "held_back").inc()
        if model == HEAD:
            self._parts.judged(self._role, False, 0.0)  # noqa: FBT003 - as the type says

    def breaker_moved(self, model: str, *, is_open: bool) -> None:
        """See ``ModelObserver``."""
        self._open[model] = is_open
        if self._role == "champion":
            self._parts.metrics.breaker_open.labels(model).set(is_open)
        log.warning("breaker_moved", model=model, version=self.version, role=self._role, is_open=is_open)

    def vectors_looked_up(self, hits: int, misses: int, held: int) -> None:
        """See ``ModelObserver``."""
        self._parts.metrics.vector_hits.inc(hits)
        self._parts.metrics.vector_misses.inc(misses)
        self._parts.metrics.vectors_cached.set(held)

    def images_looked_up(self, found: int, unknown: int) -> None:
        """See ``ModelObserver``."""
        self._parts.metrics.images.labels("found").inc(found)
        self._parts.metrics.images.labels("unknown").inc(unknown)


def ad_policy(settings: AdSettings) -> AdPolicy:
    """The account's policy from the settings."""
    return AdPolicy(
        floor_cpm=settings.floor_cpm,
        cap_impressions=settings.cap_impressions,
        cap_span_ms=settings.cap_span_hours * 3_600_000,
        reservation_ms=settings.reservation_minutes * 60_000,
        explore_ratio=settings.explore_ratio,
    )


def repository_control(settings: ModelSettings) -> RepositoryControl | None:
    """Triton's repository control, if the settings allow it by giving its key."""
    access = triton_access(settings)
    return RepositoryControl(settings.grpc_url, access) if access.headers else None


def require_level(settings: Settings, bundle: ModelBundle) -> None:
    """Pass if profiles count the categories that the version scores."""
    if settings.window.interest_level != bundle.interest_level:
        raise ConfigurationError(
            f"INTERESTFLOW_WINDOW__INTEREST_LEVEL is {settings.window.interest_level}, the model was trained with "
            f"{bundle.interest_level}: profiles would count other categories than it scores; set it to "
            f"{bundle.interest_level}"
        )
