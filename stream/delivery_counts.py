"""What the order guard of the transport saw, as metrics."""

from stream.metrics import Metrics


class DeliveryCounts:
    """Counts by topic; a ``TransportObserver``."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def sought_back(self, topic: str) -> None:
        """See ``TransportObserver``."""
        self._metrics.seek_backs.labels(topic).inc()

    def filtered_repeats(self, topic: str, records: int) -> None:
        """See ``TransportObserver``."""
        self._metrics.repeats_filtered.labels(topic).inc(records)

    def source_rewound(self, topic: str, records: int) -> None:
        """See ``TransportObserver``."""
        self._metrics.source_rewound.labels(topic).inc(records)
