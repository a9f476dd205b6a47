"""Writes the dashboard of ``rows`` as Grafana reads it: ``python -m deploy.grafana.dashboard``.

The committed file is never edited by hand; a test fails when it differs from what this writes.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, timeseries
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common as common_models
from grafana_foundation_sdk.models import dashboard as models

from deploy.grafana.panels import COLUMNS, MATCHERS, PanelSpec, Query, RowSpec
from deploy.grafana.rows import ROWS

UID: Final = "interestflow"
OUTPUT: Final = Path(__file__).parent / "dashboards" / "interestflow.json"

_DATASOURCE: Final = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
#: Chosen by "All"; unlike a list of today's values it also matches what comes later.
_ANY: Final = ".+"


def build() -> str:
    """The dashboard as JSON, the same for the same rows."""
    board = (
        dashboard.Dashboard("interestflow")
        .uid(UID)
        .description("Whether the service is alive, fresh and right. Generated: see deploy/grafana.")
        .tags(["interestflow"])
        .time("now-30m", "now")
        .refresh("10s")
        .timezone("browser")
        .readonly()
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .variables(_variables())
        .annotations(_annotations())
    )
    for panel in _placed(ROWS):
        if isinstance(panel, dashboard.Row):
            board.with_row(panel)
        else:
            board.with_panel(panel)
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _variables() -> list[Builder[models.VariableModel]]:
    ours = "interestflow_ready"
    return [
        dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus"),
        # Both jobs in one variable: with "All", the default, a row can't be empty for want of a choice.
        _chosen("job", "Job", f'label_values({{__name__=~"{ours}|nv_inference_count"}}, job)'),
        _chosen(
            "instance",
            "Instance",
            f'label_values({{__name__=~"{ours}|nv_inference_count", job=~"$job"}}, instance)',
        ),
        _chosen("topic", "Topic", f"label_values(interestflow_events_total{{{MATCHERS}}}, topic)"),
        _chosen("model", "Model", f"label_values(interestflow_model_info{{{MATCHERS}}}, model)"),
    ]


def _chosen(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(multi=True)
        .include_all(include_all=True)
        .all_value(_ANY)
        .current(models.VariableOption(selected=True, text=["All"], value=["$__all"]))
    )


def _annotations() -> list[Builder[models.AnnotationQuery]]:
    # Their step is not a rate interval's, so the windows are written out: four scrapes at least.
    version = f"interestflow_model_info{{{MATCHERS}}}"
    return [
        _annotation(
            "Model version",
            "blue",
            f"count by (model, version) ({version}) unless count by (model, version) ({version} offset 1m)",
        ),
        _annotation(
            "Rebalance",
            "orange",
            f"sum by (instance) (increase(interestflow_rebalances_total{{{MATCHERS}}}[1m])) > 0",
        ),
    ]


def _annotation(name: str, color: str, expr: str) -> dashboard.AnnotationQuery:
    return (
        dashboard.AnnotationQuery()
        .name(name)
        .datasource(_DATASOURCE)
        .enable(enable=True)
        .icon_color(color)
        .expr(expr)
    )


def _placed(rows: tuple[RowSpec, ...]) -> Iterator[dashboard.Row | stat.Panel | timeseries.Panel]:
    """Rows and panels with ids and places: from left to right, a new line where the grid ends."""
    identity, y = 1, 0
    for row in rows:
        yield dashboard.Row(row.title).id(identity).grid_pos(models.GridPos(h=1, w=COLUMNS, x=0, y=y))
        identity, y = identity + 1, y + 1
        x = line_height = 0
        for spec in row.panels:
            if x + spec.width > COLUMNS:
                x, y, line_height = 0, y + line_height, 0
            place = models.GridPos(h=spec.height, w=spec.width, x=x, y=y)
            yield _panel(spec).id(identity).grid_pos(place)
            identity, x, line_height = identity + 1, x + spec.width, max(line_height, spec.height)
        y += line_height


def _panel(spec: PanelSpec) -> stat.Panel | timeseries.Panel:
    panel = _graph(spec) if spec.kind == "graph" else _number(spec)
    panel.title(spec.title).description(spec.description).unit(spec.unit).datasource(_DATASOURCE)
    panel.thresholds(_thresholds(spec.warn_above))
    for ref_id, query in zip("ABCD", spec.queries, strict=False):
        panel.with_target(_target(query, ref_id))
    return panel


def _graph(spec: PanelSpec) -> timeseries.Panel:
    panel = timeseries.Panel().min(0).line_width(1).fill_opacity(30 if spec.stacked else 0)
    panel.legend(
        common.VizLegendOptions()
        .show_legend(show_legend=True)
        .display_mode(common_models.LegendDisplayMode.LIST)
        .placement(common_models.LegendPlacement.BOTTOM)
    )
    panel.tooltip(common.VizTooltipOptions().mode(common_models.TooltipDisplayMode.MULTI))
    if spec.stacked:
        panel.stacking(common.StackingConfig().mode(common_models.StackingMode.NORMAL))
    if spec.warn_above is not None:
        panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(common_models.GraphThresholdsStyleMode.DASHED)
        )
    return panel


def _number(spec: PanelSpec) -> stat.Panel:
    text = (
        common_models.BigValueTextMode.NAME if spec.kind == "names" else common_models.BigValueTextMode.VALUE
    )
    return (
        stat.Panel()
        .text_mode(text)
        .graph_mode(common_models.BigValueGraphMode.NONE)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    )


def _thresholds(warn_above: float | None) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(color="green", value=None)]
    if warn_above is not None:
        steps.append(models.Threshold(color="red", value=warn_above))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _target(query: Query, ref_id: str) -> prometheus.Dataquery:
    target = prometheus.Dataquery().expr(query.expr).ref_id(ref_id).range().datasource(_DATASOURCE)
    return target.legend_format(query.legend) if query.legend else target


if __name__ == "__main__":
    OUTPUT.write_text(build())
