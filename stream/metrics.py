"""Every metric of the worker, declared once. Base units; no user, item or text ever is a label."""

from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

#: From a cache hit to the objective of "within seconds", seconds.
_FRESHNESS_BUCKETS: Final = (
    0.01,
    0.025,
    0.05,
    0.1,
    0.15,
    0.25,
    0.35,
    0.5,
    0.75,
    1.0,
    1.5,
    2.5,
    5.0,
    10.0,
    30.0,
    60.0,
    300.0,
    3600.0,
)
_CALL_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
_COUNT_BUCKETS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)


class Metrics:
    """The worker's metrics on their own registry, so that tests and embedded workers don't share one."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._declare_fold()
        self._declare_transport()
        self._declare_score()
        self._declare_model()
        self._declare_ads()
        self._declare_health()

    def _declare_fold(self) -> None:
        self.events = self._counter(
            "events", "Input records by what became of them; each record moves this by exactly one.",
            "topic", "outcome", "reason",
        )  # fmt: skip
        self.dead_letters = self._counter(
            "dead_letters", "Records written to the dead letter.", "topic", "reason"
        )
        self.reserved_fields = self._counter(
            "reserved_fields", "Records with keys that frameworks give a meaning to; a probe.", "topic"
        )
        self.unattributed = self._counter(
            "events_unattributed",
            "Events taken whose step before is not known: ad clicks, purchases.",
            "topic",
            "step",
        )
        self.fold_seconds = self._histogram(
            "fold_seconds", "Folding one bundle, sends included.", _CALL_BUCKETS
        )
        self.bundle_records = self._histogram("bundle_records", "Records in one bundle.", _COUNT_BUCKETS)
        self.changelog_bytes = self._counter("changelog_bytes", "State bytes sent to a changelog.", "table")
        self.send_retries = self._counter(
            "send_retries", "Sends tried again after a retryable error.", "error"
        )
        self.sends_given_up = self._counter(
            "sends_given_up", "Batches under way that were given up while partitions moved."
        )
        self.sends_fenced = self._counter(
            "sends_fenced", "Batches that the broker refused: another worker took the partition over."
        )
        self.sends_held = self._counter(
            "sends_held", "Requests that waited, because the group may have given the partitions away."
        )
        self.texts_published = self._counter("texts_published", "Texts first met and sent to catalog.texts.")

    def _declare_transport(self) -> None:
        self.seek_backs = self._counter(
            "transport_seek_backs", "Forward jumps answered by seeking back.", "topic"
        )
        self.repeats_filtered = self._counter(
            "transport_repeats_filtered", "Records fetched again that were already delivered.", "topic"
        )
        self.source_rewound = self._counter(
            "source_rewound",
            "Records of a log that went back while running: its topic was recreated or truncated.",
            "topic",
        )
        self.rebalances = self._counter("rebalances", "Rebalances that this worker took part in.")
        self.committed_age = self._gauge(
            "committed_offset_age_seconds",
            "For how long the committed offset of a partition has not moved although its log goes on.",
            "topic",
            "partition",
        )
        self.read_back = self._counter(
            "changelog_records_read_back",
            "Records read from a changelog to bring a store up to date.",
            "table",
        )
        self.partitions = self._gauge("assigned_partitions", "Input partitions held by this worker.", "topic")

    def _declare_score(self) -> None:
        self.users = self._gauge("users", "Users in the state of this worker's partitions.")
        self.evicted = self._counter(
            "users_evicted",
            "Users forgotten: expired, nothing came for long, or crowded, too many are held.",
            "why",
        )
        self.due_users = self._gauge("due_users", "Users whose state is newer than their scores.")
        self.oldest_due_seconds = self._gauge("oldest_due_age_seconds", "Age of the oldest due user.")
        self.scored = self._counter("users_scored", "Users scored, by where the scores came from.", "source")
        self.updates = self._counter(
            "interest_updates", "Interest updates published, by source of the scores.", "source"
        )
        self.unchanged = self._counter(
            "interest_updates_unchanged", "Scorings that changed too little to publish."
        )
        self.freshness = self._histogram(
            "freshness_seconds",
            "Wall clock from a record's append to the interest update it caused.",
            _FRESHNESS_BUCKETS,
        )
        self.score_stage = self._histogram(
            "score_stage_seconds", "Time of a scoring batch by stage.", _CALL_BUCKETS, "stage"
        )
        self.dropped_results = self._counter(
            "score_results_dropped", "Scored results not published, and why.", "reason"
        )

    def _declare_model(self) -> None:
        self.model_calls = self._counter(
            "model_calls", "Calls of the model server by outcome.", "model", "outcome"
        )
        self.model_seconds = self._histogram(
            "model_call_seconds", "One call of the model server.", _CALL_BUCKETS, "model"
        )
        self.model_rows = self._histogram("model_batch_rows", "Rows in one call.", _COUNT_BUCKETS, "model")
        self.model_reloads = self._counter(
            "model_reloads",
            "Models whose process seemed dead, by what came of loading them anew.",
            "model", "outcome",
        )  # fmt: skip
        self.vector_hits = self._counter("vector_cache_hits", "Texts whose vector was cached.")
        self.vector_misses = self._counter("vector_cache_misses", "Texts that had to be encoded.")
        self.vectors_cached = self._gauge("vectors_cached", "Text vectors held.")
        self.images = self._counter(
            "image_lookups", "Look-ups of items with an image: found in the catalogue, or unknown.", "outcome"
        )
        self.breaker_open = self._gauge("model_breaker_open", "1 while calls are held back, else 0.", "model")
        self.model_info = self._gauge("model_info", "1 for the model version in use.", "model", "version")
        self._declare_rollout()

    def _declare_rollout(self) -> None:
        self.model_roles = self._gauge("model_roles", "1 for a version at work.", "role", "version")
        self.challenger_share = self._gauge(
            "challenger_share_ratio", "Of the users that the challenger scores; 0 in the shadow."
        )
        self.rollout_pending = self._gauge(
            "model_rollout_pending", "1 while this worker can't follow models.rollout, else 0."
        )
        self.rollbacks = self._counter(
            "model_rollbacks", "Challengers that this worker took back, by the bound that was left.", "bound"
        )
        self.challenger_calls = self._counter(
            "challenger_calls", "Calls of the challenger by outcome.", "model", "outcome"
        )
        self.challenger_seconds = self._histogram(
            "challenger_call_seconds", "One call of the challenger.", _CALL_BUCKETS, "model"
        )
        self.comparisons = self._counter(
            "model_comparisons", "Users scored by champion and challenger, or skipped.", "outcome"
        )
        self.challenger_difference = self._gauge(
            "challenger_score_difference", "Mean absolute difference of a score to the champion's."
        )
        self.challenger_overlap = self._gauge(
            "challenger_top_overlap_ratio", "Top interests that champion and challenger both name."
        )
        self.challenger_score_ratio = self._gauge(
            "challenger_score_ratio", "Purchases that the challenger expects, over those of the champion."
        )
        self.challenger_out = self._gauge(
            "challenger_out_of_bounds", "1 for a bound that the challenger leaves now, else 0.", "bound"
        )

    def _declare_ads(self) -> None:
        self.decisions = self._counter("ad_decisions", "Ad decisions published, filled or not.", "filled")
        self.losses = self._counter(
            "ad_candidate_losses", "Campaigns that did not win a decision, by reason.", "reason"
        )
        self.campaigns = self._gauge("ad_campaigns", "Campaigns in the snapshot.")
        self.campaigns_rejected = self._counter(
            "ad_campaigns_rejected", "Campaign records that can't be used.", "reason"
        )

    def _declare_health(self) -> None:
        self.ready = self._gauge("ready", "1 while the worker is ready, else 0.")
        self.stream_time = self._gauge("stream_time_seconds", "The clock that decays use: wall or virtual.")

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(name, help_text, labels, namespace="interestflow", registry=self.registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(name, help_text, labels, namespace="interestflow", registry=self.registry)

    def _histogram(self, name: str, help_text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
        return Histogram(
            name, help_text, labels, namespace="interestflow", registry=self.registry, buckets=buckets
        )
