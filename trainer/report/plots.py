"""The report's plots as PNG files."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from trainer.evaluate import MODEL

_SIZE: Final = (6.4, 4.0)
_DPI: Final = 110


def draw_plots(figures: Mapping[str, Any], directory: Path) -> dict[str, str]:
    """Draw what the figures hold; file names by title."""
    drawn = {
        "reliability": _reliability(figures["reliability"]),
        "by cutoff": _by_cutoff(figures["by_cutoff"]["all"]),
        "by history": _bars(figures["by_history"], "ndcg10", "NDCG@10"),
        "by buyers": _bars(figures["by_buyers"], "macro_auc", "macro AUC"),
    }
    if figures["fairness"]["attributes"]:
        drawn["fairness"] = _gaps(figures["fairness"]["attributes"])
    names = {}
    for title, plot in drawn.items():
        names[title] = f"{title.replace(' ', '-')}.png"
        plot.savefig(directory / names[title], dpi=_DPI, metadata={"Software": None})
    return names


def _canvas(title: str) -> tuple[Figure, Axes]:
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title)
    axes.grid(alpha=0.3)
    return figure, axes


def _reliability(curves: Mapping[str, Sequence[Mapping[str, float]]]) -> Figure:
    """Both axes logarithmic: most interests have odds of a few in a hundred."""
    figure, axes = _canvas("said and happened, bins of equal count")
    low = 1.0
    for name, points in curves.items():
        some = [point for point in points if point["said"] > 0 and point["happened"] > 0]
        axes.plot(
            [point["said"] for point in some],
            [point["happened"] for point in some],
            marker=".",
            linestyle="--" if name.startswith("intent") else "-",
            label=name,
        )
        low = min([low, *(min(point["said"], point["happened"]) for point in some)])
    axes.plot([low, 1.0], [low, 1.0], color="grey", linewidth=0.8)
    axes.set(xscale="log", yscale="log", xlabel="mean score", ylabel="share that came true")
    axes.legend(fontsize="small")
    return figure


def _by_cutoff(days: Mapping[str, Mapping[str, Mapping[str, float]]]) -> Figure:
    figure, axes = _canvas("all, by cutoff")
    for name in next(iter(days.values())):
        axes.plot(list(days), [models[name]["ndcg10"] for models in days.values()], marker=".", label=name)
    axes.set_ylabel("NDCG@10")
    axes.tick_params(axis="x", labelrotation=30)
    axes.legend(fontsize="small")
    return figure


def _bars(rows: Sequence[Mapping[str, Any]], figure_name: str, label: str) -> Figure:
    figure, axes = _canvas(label)
    models = list(rows[0]["models"])
    width = 0.8 / len(models)
    for number, name in enumerate(models):
        places = [row + (number - (len(models) - 1) / 2) * width for row in range(len(rows))]
        values = [row["models"][name][figure_name] or 0.0 for row in rows]
        axes.bar(places, values, width=width, label=name, zorder=2 + (name == MODEL))
    axes.set_xticks(range(len(rows)), [row["group"] for row in rows], rotation=15, fontsize="small")
    axes.set_ylabel(label)
    axes.legend(fontsize="small")
    return figure


def _gaps(attributes: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    figure, axes = _canvas("mean score minus share that came true")
    judged = [
        (f"{attribute} {row['group']}", row)
        for attribute, rows in attributes.items()
        for row in rows
        if "calibration_gap" in row
    ]
    for place, (_, row) in enumerate(judged):
        low, high = row["calibration_gap_ci"]
        axes.plot([low, high], [place, place], color="black", linewidth=1)
        axes.plot(row["calibration_gap"], place, marker="o", color="C0")
    axes.axvline(0.0, color="grey", linewidth=0.8)
    axes.set_yticks(range(len(judged)), [name for name, _ in judged], fontsize="small")
    return figure
