"""The parts of the settings beside Kafka's, each for one part of the service."""

from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from stream.consent import ALL_PURPOSES
from stream.dead_letter_limit import LimitRules
from stream.errors import ConfigurationError
from stream.kafka_settings import Section
from stream.model.judgement import Bounds
from stream.sensitive import DEFAULT_LIST, SensitiveNames, read_list
from stream.sweep import EvictionRules
from stream.topic_limits import TopicLimits
from stream.window import DAY_MS, WindowPolicy


class WindowSettings(Section):
    """What is remembered of a user."""

    size: int = Field(64, ge=1, le=255, description="Behaviours in the window.")
    span_days: int = Field(30, ge=1, le=365)
    lateness_grace_hours: int = Field(24, ge=1, le=24 * 30)
    interest_level: int = Field(2, ge=1, le=5, description="Which item category is the interest.")
    throttle_seconds: int = Field(
        60, ge=0, le=3600, description="More than 1,024 events of a user within it are dropped; 0: never."
    )

    def policy(self) -> WindowPolicy:
        """The same for the pure functions."""
        return WindowPolicy(
            size=self.size,
            span_ms=self.span_days * DAY_MS,
            lateness_grace_ms=self.lateness_grace_hours * 3_600_000,
            interest_level=self.interest_level,
            throttle_span_ms=self.throttle_seconds * 1000,
        )


class StoreSettings(Section):
    """Where tables live between changelog and memory."""

    backend: Literal["memory", "rocksdb"] = "memory"
    directory: Path = Path("data/state")
    keep_hours: float = Field(
        12.0,
        gt=0.0,
        le=24.0 * 30,
        description="rocksdb: what was last written longer ago is read anew; stay below the changelogs' "
        "delete.retention.ms (24 h), after which deletions are forgotten.",
    )
    rocksdb_memory_mib: int = Field(
        128,
        ge=8,
        description="What RocksDB holds in memory for all tables and partitions of a worker: what was written and what was read last.",
    )
    live_users: int = Field(50_000, ge=1, description="Decoded states kept per worker (about 8 KiB each).")
    user_ttl_days: int = Field(
        400, ge=31, le=3650, description="A user of whom nothing came for longer is forgotten."
    )
    max_users: int = Field(
        2_000_000, ge=100, description="Per worker; beyond it those who were quiet longest are forgotten."
    )

    def eviction(self) -> EvictionRules:
        """The same for the pure functions."""
        return EvictionRules(ttl_ms=self.user_ttl_days * DAY_MS, max_users=self.max_users)


class ModelSettings(Section):
    """Triton and the model repository that it serves."""

    enabled: bool = True
    repository: Path = Path("triton_models")
    grpc_url: str = "127.0.0.1:8001"
    grpc_tls: bool = Field(default=False, description="For a Triton on another machine.")
    grpc_ca_file: Path | None = Field(None, description="PEM; without it gRPC's own authorities.")
    grpc_cert_file: Path | None = Field(
        None, description="PEM; our certificate, for a Triton that asks for one."
    )
    grpc_key_file: Path | None = Field(None, description="PEM; its key.")
    grpc_allow_plaintext: bool = Field(
        default=False, description="Without TLS also to a Triton that is not on this machine."
    )
    restricted_key_name: str = Field(
        "admin-key",
        pattern=r"^[a-z0-9-]+$",
        description="Of Triton's flag --grpc-restricted-protocol=…:NAME=KEY.",
    )
    restricted_key: SecretStr | None = Field(
        None, description="With it the worker loads versions, and models whose process died."
    )
    restricted_key_file: Path | None = Field(None, description="The key from a file, as a mounted secret.")
    deadline_seconds: float = Field(2.0, gt=0.0, le=60.0)
    batch_rows: int = Field(32, ge=1, le=64, description="Users scored by one call.")
    concurrency: int = Field(2, ge=1, le=64, description="Calls in flight.")
    cached_vectors: int = Field(200_000, ge=100, description="1.9 KiB each.")
    images: Path | None = Field(
        None, description="Image catalogue (.npz), read at start; see docs/item-images.md."
    )


class ScoreSettings(Section):
    """When users are scored and when an update is worth publishing."""

    min_interval_seconds: float = Field(
        1.0, ge=0.0, le=3600.0, description="Between two scorings of one user."
    )
    change_threshold: float = Field(
        0.02, ge=0.0, le=1.0, description="Smallest change of a score that is news."
    )
    busy_share: float = Field(
        0.3, gt=0.0, le=1.0, description="Of the event loop, for scoring while the stream has a backlog."
    )
    top_interests: int = Field(10, ge=1, le=100, description="Scores in an update.")
    review_hours: float = Field(
        24.0, gt=0.0, le=24.0 * 90, description="A quiet user is looked at again after this."
    )
    retry_seconds: float = Field(
        2.0, gt=0.0, le=600.0, description="Back-off of a user that the model could not score."
    )


class RolloutSettings(Section):
    """When a worker takes a canary back by itself; see docs/models.md."""

    auto_rollback: bool = Field(default=True, description="Else a challenger out of bounds is only shown.")
    window_seconds: float = Field(300.0, ge=5.0, le=86_400.0, description="What is judged together.")
    least_calls: int = Field(20, ge=1, description="Before failures and latency are judged.")
    least_rows: int = Field(200, ge=1, description="Users scored by both, before scores are judged.")
    failed_ratio: float = Field(0.05, ge=0.0, le=1.0, description="Of the challenger's calls.")
    latency_ratio: float = Field(2.0, ge=1.0, description="Mean call against the champion's.")
    latency_floor_seconds: float = Field(
        0.05, ge=0.0, le=60.0, description="Mean call that is never too slow."
    )
    score_ratio: float = Field(
        1.25, gt=1.0, description="Purchases expected against the champion's, either way."
    )
    score_difference: float = Field(0.05, gt=0.0, le=1.0, description="Mean absolute difference of a score.")

    def bounds(self) -> Bounds:
        """The same for the pure functions."""
        return Bounds(**self.model_dump(exclude={"auto_rollback"}))


class AdSettings(Section):
    """Defaults of ad decisions."""

    enabled: bool = True
    floor_cpm: float = Field(0.5, ge=0.0)
    cap_impressions: int = Field(3, ge=1)
    cap_span_hours: int = Field(24, ge=1, le=24 * 30)
    reservation_minutes: int = Field(30, ge=0, le=24 * 60)
    explore_ratio: float = Field(0.0, ge=0.0, le=0.5)


class SensitiveSettings(Section):
    """Which interests are never scored, stored or emitted."""

    list: Path = Field(DEFAULT_LIST, description="TOML of topics and words; the default is worth reading.")
    optional: str = Field(
        "alcohol,tobacco", description="Topics of the list that hold beside those that always do, by commas."
    )

    def names(self) -> SensitiveNames:
        """What the list says.

        Raises:
            ConfigurationError: If the list can't be read, or an optional topic is not in it.
        """
        try:
            content = self.list.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(
                f"the list of sensitive interests {self.list} can't be read ({error}): name a TOML file in "
                "INTERESTFLOW_SENSITIVE__LIST, or unset it for the list that comes with the service"
            ) from error
        chosen = (topic.strip() for topic in self.optional.split(","))
        return read_list(content, [topic for topic in chosen if topic], str(self.list))


class ConsentSettings(Section):
    """What holds for users of whom nothing was said."""

    default: Literal["all", "none"] = Field(
        "all", description="all: your back end sends only what it may; none: no profile without a consent."
    )

    def purposes(self) -> int:
        """The same as bits of TCF purposes."""
        return ALL_PURPOSES if self.default == "all" else 0


class PrivacySettings(Section):
    """How long what people did is kept, and how they are forgotten."""

    retention_days: int = Field(
        30,
        ge=0,
        le=45,
        description="Inputs, dead letters and decisions: at most so long. 0: not limited here, nor promised.",
    )
    compaction_days: int = Field(
        7, ge=1, le=45, description="A replaced or erased value leaves compacted topics at latest after this."
    )
    marker_secret: SecretStr | None = Field(
        None, description="Key of the hashes that erased users are recognised by; the same for all workers."
    )
    marker_secret_file: Path | None = Field(None, description="Holds it, in place of the variable.")

    def limits(self) -> TopicLimits:
        """The same for the topics."""
        retention_ms = self.retention_days * DAY_MS if self.retention_days else None
        return TopicLimits(retention_ms, self.compaction_days * DAY_MS)


class WatchdogSettings(Section):
    """When a worker that has work and does not get on says so, and when it ends by itself."""

    not_ready_seconds: float = Field(
        60.0, ge=1.0, le=3600.0, description="Work and no progress for this long: not ready."
    )
    exit_seconds: float = Field(
        180.0, ge=1.0, le=24 * 3600.0, description="For this long: the worker ends and names the partition."
    )
    spare_seconds: float = Field(
        60.0, ge=1.0, le=24 * 3600.0, description="A worker that got no partition for this long ends."
    )

    @model_validator(mode="after")
    def _say_it_before_ending(self) -> Self:
        if self.exit_seconds < self.not_ready_seconds:
            raise ValueError(
                f"exit_seconds={self.exit_seconds:g} must not be below not_ready_seconds={self.not_ready_seconds:g}"
            )
        return self


class DeadLetterSettings(Section):
    """When so much is rejected that the worker stops instead."""

    limit_ratio: float = Field(
        0.9,
        ge=0.0,
        le=1.0,
        description="Rejected share of a topic's last records that stops the worker; 0: never.",
    )
    limit_records: int = Field(
        1000,
        ge=10,
        le=1_000_000,
        description="Last records of each partition that count; a topic is judged after ten times so many.",
    )

    def limit(self) -> LimitRules:
        """The same for the pure part."""
        return LimitRules(self.limit_ratio, self.limit_records)


class HealthSettings(Section):
    """Metrics and health, on loopback unless said otherwise."""

    host: str = "127.0.0.1"
    port: int = Field(9108, ge=0, le=65_535, description="0: any free port.")
