"""The table: the model with text beside every model without, with intervals of what text adds to each."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from trainer.evaluate import Scores, questions
from trainer.pooling import Asked, drawn_macro_auc, measure, middle_95, ndcg_interval
from trainer.rows import Split

TEXT: Final = "text"
#: Whose scores are probabilities.
_PROBABILITIES: Final = (TEXT, "text_alone", "gbdt", "gbdt_tree")

#: Of households for the intervals of AUC: over a thousand candidates at six cutoffs each draw takes a second.
_AUC_DRAWS: Final = 200

Table = dict[str, dict[str, Any]]
#: By model and cutoff.
Said = dict[str, list[Scores]]
#: By variant and cutoff.
Questions = Mapping[str, Sequence[Asked]]


def asked_of(splits: Sequence[Split], variants: Sequence[str]) -> Questions:
    """Some of the variants of ``trainer.evaluate.questions`` at each cutoff."""
    asked = [questions(split.inputs) for split in splits]
    return {
        variant: [
            Asked(split.inputs.households, by_variant[variant])
            for split, by_variant in zip(splits, asked, strict=True)
        ]
        for variant in variants
    }


def cold_table(asked: Questions, said: Mapping[str, Sequence[Scores]]) -> Table:
    """By variant: every model's figures, and by rival the model with text minus it with 95 % intervals by household.

    Args:
        asked: Some households at each cutoff.
        said: By model and cutoff, ``text`` among them.
    """
    found: Table = {}
    for variant, cutoffs in asked.items():
        models = {
            name: measure(cutoffs, scores, probabilities=name in _PROBABILITIES)
            for name, scores in said.items()
        }
        found[variant] = {"models": models, "text_minus": _gains(said, cutoffs)}
    return found


def _gains(
    said: Mapping[str, Sequence[Scores]], cutoffs: Sequence[Asked]
) -> dict[str, dict[str, list[float]]]:
    drawn = {name: drawn_macro_auc(scores, cutoffs, _AUC_DRAWS) for name, scores in said.items()}
    return {
        name: {
            "ndcg10_ci": ndcg_interval(said[TEXT], scores, cutoffs),
            "macro_auc_ci": middle_95(drawn[TEXT] - drawn[name]),
        }
        for name, scores in said.items()
        if name != TEXT
    }


def cold_markdown(tasks: Mapping[str, Table]) -> str:
    """All tasks as one Markdown table."""
    lines = [
        "| task | variant | model | NDCG@10 | macro AUC | micro AUC | text minus it: NDCG@10 | macro AUC |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for task, table in tasks.items():
        for variant, found in table.items():
            for name, row in found["models"].items():
                gain = found["text_minus"].get(name, {})
                figures = (row["ndcg10"], row["macro_auc"], row["micro_auc"])
                cells = [f"{figure:.4f}" for figure in figures]
                cells += [_span(gain.get(figure)) for figure in ("ndcg10_ci", "macro_auc_ci")]
                lines.append(f"| {task} | {variant} | {name} | {' | '.join(cells)} |")
    return "\n".join([*lines, ""])


def _span(interval: list[float] | None) -> str:
    return "" if interval is None else f"{interval[0]:+.4f} to {interval[1]:+.4f}"
