"""What a panel is, and the few shapes of PromQL that all panels are made of.

Every query is limited to the chosen job and instance, and rates use ``$__rate_interval``, which Grafana sets to
at least four scrapes.
"""

from dataclasses import dataclass
from typing import Final, Literal

MATCHERS: Final = 'job=~"$job", instance=~"$instance"'
#: Grafana's grid is so many columns wide.
COLUMNS: Final = 24


@dataclass(frozen=True, slots=True)
class Query:
    """One line or number of a panel."""

    expr: str
    """PromQL with dashboard variables."""
    legend: str = ""
    """Name of a series, with ``{{label}}`` filled in."""
    only_in_trouble: bool = False
    """No data is the normal answer."""


@dataclass(frozen=True, slots=True)
class PanelSpec:
    """One panel: what it shows, and what it tells the one who looks."""

    title: str
    description: str
    unit: str
    """Grafana's id of a unit, such as ``s``."""
    queries: tuple[Query, ...]
    kind: Literal["graph", "number", "names"] = "graph"
    """``names`` shows the series' names, for metrics whose value is always 1."""
    width: int = 8
    stacked: bool = False
    warn_above: float | None = None
    """Where the line turns red; the value of the alert, if there is one."""

    @property
    def height(self) -> int:
        """Rows of the grid."""
        return 8 if self.kind == "graph" else 4


@dataclass(frozen=True, slots=True)
class RowSpec:
    """A titled row of panels, laid out from left to right."""

    title: str
    panels: tuple[PanelSpec, ...]


def series(metric: str, where: str = "") -> str:
    """The metric of the chosen instances."""
    return f"{metric}{{{MATCHERS}{', ' if where else ''}{where}}}"


def rate(metric: str, by: str = "", where: str = "") -> str:
    """Per second, summed."""
    return f"sum{_by(by)}(rate({series(metric, where)}[$__rate_interval]))"


def increase(metric: str, by: str = "", where: str = "") -> str:
    """How often in the interval, summed; for what is so rare that a rate says nothing."""
    return f"sum{_by(by)}(increase({series(metric, where)}[$__rate_interval]))"


def total(metric: str, by: str = "", where: str = "") -> str:
    """A gauge, summed over the instances."""
    return f"sum{_by(by)}({series(metric, where)})"


def largest(metric: str, by: str = "", where: str = "") -> str:
    """A gauge's largest value over the instances."""
    return f"max{_by(by)}({series(metric, where)})"


def quantile(share: float, metric: str, by: str = "", where: str = "") -> str:
    """A quantile of a histogram, interpolated inside its bucket."""
    return f"histogram_quantile({share}, {rate(f'{metric}_bucket', f'le, {by}' if by else 'le', where)})"


def quantiles(metric: str, by: str = "", where: str = "") -> tuple[Query, Query]:
    """Its median and 99th percentile."""
    named = f"{{{{{by}}}}} " if by else ""
    return (
        Query(quantile(0.5, metric, by, where), f"{named}p50"),
        Query(quantile(0.99, metric, by, where), f"{named}p99"),
    )


def mean(metric: str, per: str, by: str = "", where: str = "") -> str:
    """How much the first counter grew for each step of the second."""
    return f"{rate(metric, by, where)} / {rate(per, by, where)}"


def _by(labels: str) -> str:
    return f" by ({labels}) " if labels else ""
