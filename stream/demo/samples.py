"""One scrape of the worker's ``/metrics``, and what two of them tell."""

from collections.abc import Mapping, Sequence
from typing import Final

from prometheus_client.parser import text_string_to_metric_families

_PREFIX: Final = "interestflow_"
#: (upper bound in the histogram's unit, observations up to it), rising; the last bound is infinite.
Buckets = Sequence[tuple[float, float]]


class Samples:
    """Values of a scrape; names are given without the prefix ``interestflow_``."""

    def __init__(self, values: Mapping[str, list[tuple[Mapping[str, str], float]]]) -> None:
        self._values = values

    @classmethod
    def parse(cls, text: str) -> "Samples":
        """Read the text format of Prometheus."""
        values: dict[str, list[tuple[Mapping[str, str], float]]] = {}
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                values.setdefault(sample.name.removeprefix(_PREFIX), []).append((sample.labels, sample.value))
        return cls(values)

    def total(self, name: str) -> float:
        """The sum over all labels; 0 if there is none."""
        return sum(value for _, value in self._values.get(name, ()))

    def by_label(self, name: str, label: str) -> dict[str, float]:
        """Sums by the value of one label."""
        sums: dict[str, float] = {}
        for labels, value in self._values.get(name, ()):
            sums[labels[label]] = sums.get(labels[label], 0.0) + value
        return sums

    def buckets(self, histogram: str) -> Buckets:
        """The cumulative buckets of a histogram without labels."""
        found = self._values.get(f"{histogram}_bucket", ())
        return sorted((float(labels["le"]), value) for labels, value in found)


NOTHING: Final = Samples({})


def since(before: Buckets, after: Buckets) -> Buckets:
    """What was observed between two scrapes of a histogram."""
    earlier = dict(before)
    return [(bound, count - earlier.get(bound, 0.0)) for bound, count in after]


def quantile(buckets: Buckets, share: float) -> float | None:
    """The value that a share of the observations does not exceed, or None without observations.

    Interpolated within its bucket as Prometheus' histogram_quantile does: no finer than the buckets are. Beyond the
    last finite bound it is that bound.

    Args:
        buckets: Cumulative.
        share: From 0 to 1.
    """
    if not buckets or buckets[-1][1] <= 0:
        return None
    rank = share * buckets[-1][1]
    lower, below = 0.0, 0.0
    for bound, count in buckets[:-1]:
        if count >= rank:
            within = (rank - below) / (count - below) if count > below else 0.0
            return lower + (bound - lower) * within
        lower, below = bound, count
    return lower
