"""Writes the table of all metrics in docs/observability.md: ``python -m deploy.grafana.reference``.

Names, types, labels and meanings come from ``stream.metrics``; where each is seen, from the rows and the alerts.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import yaml
from prometheus_client.metrics import MetricWrapperBase

from deploy.grafana.rows import ROWS
from stream.metrics import Metrics

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "observability.md"
ALERTS: Final = ROOT / "deploy" / "prometheus" / "alerts.yml"

_BEGIN: Final = "<!-- metrics: written by `python -m deploy.grafana.reference` -->\n"
_END: Final = "<!-- end of metrics -->\n"
_NAME: Final = re.compile(r"\b(?:interestflow|nv)_\w+(?=[{\[])")
#: What Prometheus adds to a name, by type.
_SUFFIXES: Final = {"counter": ("_total",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}


class Metric(NamedTuple):
    """One metric as the worker declares it."""

    name: str
    """As it is declared, without what Prometheus adds."""
    kind: str
    labels: tuple[str, ...]
    meaning: str

    @property
    def series(self) -> tuple[str, ...]:
        """Names that queries use."""
        return tuple(self.name + suffix for suffix in _SUFFIXES[self.kind])


def declared() -> list[Metric]:
    """Every metric of the worker, in the order of its declaration."""
    return [_metric(value) for value in vars(Metrics()).values() if isinstance(value, MetricWrapperBase)]


def _metric(wrapper: MetricWrapperBase) -> Metric:
    # describe() leaves the labels out; there is no public way to them.
    (family,) = wrapper.describe()
    return Metric(family.name, family.type, tuple(wrapper._labelnames), family.documentation)  # noqa: SLF001


def names_in(expr: str) -> set[str]:
    """Names of the series that a query reads."""
    return set(_NAME.findall(expr))


def alert_exprs() -> dict[str, str]:
    """Query of each alert by its name."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return {rule["alert"]: rule["expr"] for group in groups for rule in group["rules"]}


def shown(metric: Metric) -> list[str]:
    """Panels and alerts that read it."""
    return list(dict.fromkeys(_readers(set(metric.series))))


def _readers(series: set[str]) -> Iterator[str]:
    for row in ROWS:
        for panel in row.panels:
            if any(series & names_in(query.expr) for query in panel.queries):
                yield panel.title
    for alert, expr in alert_exprs().items():
        if series & names_in(expr):
            yield f"alert {alert}"


def table() -> str:
    """The metrics as a Markdown table."""
    lines = ["| metric | type | labels | meaning | seen on |", "|---|---|---|---|---|"]
    for metric in declared():
        name = metric.name + ("_total" if metric.kind == "counter" else "")
        seen = ", ".join(shown(metric)) or "-"
        lines.append(
            f"| `{name}` | {metric.kind} | {', '.join(metric.labels) or '-'} | {metric.meaning} | {seen} |"
        )
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    """The page with the table between its marks."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return before + _BEGIN + table() + _END + after


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
