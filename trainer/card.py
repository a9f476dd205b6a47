"""The model card of a version, written from what its manifest records and from nothing else."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

Section = Mapping[str, Any]

#: Its file in the head's version directory.
CARD: Final = "model_card.md"
_PURPOSE: Final = (
    "Scores a shopper's interests from behaviour: which product categories they will buy in the next 28 days, whether "
    "they will buy anything soon, and where they stand among product texts. For ranking, segments and ad selection in "
    "a shop; not for decisions about people (credit, prices, employment, health)."
)
_MEASURES: Final = {"ndcg10": "NDCG@10", "recall10": "recall@10", "macro_auc": "macro AUC", "ece": "ECE"}


def card(manifest: Section) -> str:
    """The card of the version that a head's manifest describes, as Markdown."""
    lines = [
        f"# behaviour_encoder and interest_head, version {manifest['version']}",
        "",
        _PURPOSE,
        "",
        *_identity(manifest),
        *_trained(manifest.get("recipe", {})),
        *_evaluated(manifest.get("evaluation", {})),
        *_gated(manifest.get("gates", {})),
        *_same(manifest.get("parity", {})),
        *_responding(manifest),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _identity(manifest: Section) -> Iterator[str]:
    labels = next(tensor["dims"][0] for tensor in manifest["outputs"] if tensor["name"] == "SCORES")
    source = manifest.get("data", {})
    yield from ("| | |", "|---|---|")
    yield f"| interests | {labels} (label set `{manifest['label_set_hash'][:12]}`) |"
    yield f"| encoder version | `{manifest['encoder_version']}` |"
    yield f"| text | up to {manifest['max_tokens']} tokens |"
    if "images" in manifest:
        images = manifest["images"]
        yield f"| images | of {images['dimensions']} numbers, weight {images['weight']:g} against the text |"
    yield f"| trained on | {source.get('name', 'not recorded')} |"
    if "sha256" in source:
        yield f"| SHA-256 of the samples | `{source['sha256'][:12]}` |"
    yield ""


def _trained(recipe: Section) -> Iterator[str]:
    if not recipe:
        return
    yield from ("## Recipe", "")
    yield f"`{recipe.get('command', '?')}`, base {recipe.get('base', '?')}."
    yield ""
    yield from ("| part | settings |", "|---|---|")
    for part in ("encoder", "head", "calendar", "versions"):
        if part in recipe:
            yield f"| {part} | {_pairs(recipe[part])} |"
    yield ""


def _evaluated(evaluation: Section) -> Iterator[str]:
    variants = evaluation.get("variants", {})
    if not variants:
        return
    yield from ("## Evaluation on held-out households", "")
    if evaluation.get("protocol"):
        yield f"Protocol: {_pairs(evaluation['protocol'])}."
        yield ""
    yield f"| candidates | model | {' | '.join(_MEASURES.values())} |"
    yield f"|---|---|{'---|' * len(_MEASURES)}"
    for variant, models in variants.items():
        for name, row in models.items():
            if isinstance(row, Mapping):
                yield f"| {variant} | {name} | {' | '.join(_number(row.get(measure)) for measure in _MEASURES)} |"
    yield ""
    for window, row in evaluation.get("intent", {}).items():
        yield f"- Purchase within {window}: AUC {_number(row['auc'])}, ECE {_number(row['ece'])}, base rate {_number(row['base_rate'])}."
    yield ""


def _gated(gates: Section) -> Iterator[str]:
    if not gates:
        return
    yield from ("## Gates", "")
    yield from ("| gate | figure | bound | |", "|---|---|---|---|")
    forced = gates["forced"]
    for gate in gates["gates"]:
        outcome = "passed" if gate["passed"] else f"**overridden**: {forced[gate['name']]}"
        figure = "not measurable" if gate["figure"] is None else f"{gate['figure']:+.4f}"
        yield f"| {gate['name']} | {figure} | {gate['bound']:+.4f} | {outcome} |"
    yield from ("", f"Predecessor: {gates['predecessor']}.", "")


def _same(parity: Section) -> Iterator[str]:
    pairs = {name: rows for name, rows in parity.items() if name != "tolerance"}
    if not pairs:
        return
    yield from ("## Parity", "")
    yield from parity_table(pairs)
    yield ""


def parity_table(pairs: Section) -> Iterator[str]:
    """Lines of the table of largest differences, of {runtimes: {model: disagreement}}."""
    yield from ("| runtimes | model | vectors | scores | top-10 agreement |", "|---|---|---|---|---|")
    for runtimes, models in pairs.items():
        for model, gap in models.items():
            agreement = "-" if gap["top10_agreement"] is None else f"{gap['top10_agreement']:.2%}"
            yield f"| {runtimes} | {model} | {gap['vectors']:.1e} | {gap['scores']:.1e} | {agreement} |"


def _responding(manifest: Section) -> Iterator[str]:
    tested = manifest.get("evaluation", {}).get("coupon_response", {}).get("test_held_out")
    if not tested:
        return
    yield from ("## Ad response", "")
    yield (
        f"AUC {_number(tested['auc'])} on {tested['rows']} held-out rows ({tested['redeemed']} redeemed); "
        f"fitted on {manifest['ad_response']['metrics']['fit_rows']} rows."
    )


def _pairs(section: Section) -> str:
    return ", ".join(f"{name} {_value(value)}" for name, value in section.items())


def _value(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"({_pairs(value)})"
    if isinstance(value, list):
        return f"{value[0]} … {value[-1]} ({len(value)})" if len(value) > 2 else " and ".join(map(str, value))
    return str(value)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
