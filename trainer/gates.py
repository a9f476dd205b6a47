"""What a version must reach to be published: the bars of the evaluation, and not to be worse than its predecessor.

The predecessor's figures are those of its manifest. They are compared only if both were evaluated on the same data,
cutoffs and labels; then they are of the same households. Whoever publishes below a gate names it and says why, and the
manifest keeps both.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from trainer.errors import GateError

Figures = Mapping[str, Any]

#: Candidates that the bars speak of.
VARIANTS: Final = ("all", "novel8", "never")
#: Expected calibration error over all candidates.
MAX_ECE: Final = 0.005
#: A difference from gradient boosting, or from the predecessor, that is not worth a refusal: NDCG and AUC points.
TOLERANCE: Final = 0.002
#: How far a group's calibration gap may be off zero beyond its interval.
FAIRNESS_TOLERANCE: Final = 0.02
_ACTS: Final = "acts-order"
_ECE: Final = "ece-all"
_FAIRNESS: Final = "fairness"
_ERRORS: Final = frozenset({_ECE, _FAIRNESS})
_RANKING: Final = ("ndcg10", "macro_auc")


@dataclass(frozen=True, slots=True)
class Gate:
    """One figure and its bound."""

    name: str
    #: NaN if the shop is too small to measure it.
    figure: float
    #: At most, for an error; at least, for a difference.
    bound: float
    says: str

    @property
    def passed(self) -> bool:
        """Whether the figure keeps the bound; a figure that is no number does not."""
        return self.figure <= self.bound if self._is_error else self.figure >= self.bound

    @property
    def _is_error(self) -> bool:
        return self.name in _ERRORS

    @property
    def sentence(self) -> str:
        """What is measured, the figure and the bound."""
        if math.isnan(self.figure):
            return f"{self.name}: {self.says} can't be measured on so few held-out users"
        side = "at most" if self._is_error else "at least"
        return f"{self.name}: {self.says} is {self.figure:+.4f}, {side} {self.bound:+.4f} is asked"


@dataclass(frozen=True, slots=True)
class Verdict:
    """All gates of a version."""

    gates: tuple[Gate, ...]
    #: The version that was compared with, or why none was.
    predecessor: str
    #: Reasons by the name of the failed gate that they override.
    forced: Mapping[str, str] = field(default_factory=dict)

    def document(self) -> dict[str, Any]:
        """As the manifest has it."""
        return {
            "gates": [
                {
                    **asdict(gate),
                    "figure": None if math.isnan(gate.figure) else gate.figure,
                    "passed": gate.passed,
                }
                for gate in self.gates
            ],
            "predecessor": self.predecessor,
            "forced": dict(self.forced),
        }


def judge(evaluation: Figures, predecessor: Figures | None) -> Verdict:
    """The gates of an evaluation, with those against a predecessor if the two can be compared.

    Args:
        evaluation: Sections ``variants``, ``acts``, ``protocol``, and where there are groups of users or mailings ``fairness``
            and ``coupon_response``.
        predecessor: The manifest of the newest version that is published; None if there is none.

    Raises:
        GateError: If a figure that a gate needs is missing.
    """
    variants = evaluation["variants"]
    gates = [*_bars(variants), *_fairness(evaluation), *_coupons(evaluation), _acts(evaluation)]
    if predecessor is None:
        return Verdict(tuple(gates), "there is none")
    number, earlier = predecessor["version"], predecessor.get("evaluation", {})
    if not earlier.get("protocol"):
        return Verdict(
            tuple(gates), f"version {number} was not compared: it does not say how it was evaluated"
        )
    for name, ours in evaluation["protocol"].items():
        theirs = earlier["protocol"].get(name)
        if theirs != ours:
            why = f"version {number} was not compared: it was evaluated with other {name} ({theirs}, not {ours})"
            return Verdict(tuple(gates), why)
    gates += _against(variants, earlier["variants"], number)
    return Verdict(tuple(gates), f"version {number} was compared")


def require(verdict: Verdict, forced: Mapping[str, str]) -> Verdict:
    """Pass a version whose every failed gate is overridden by name; with the reasons that were needed.

    Raises:
        GateError: If a gate fails that is not named, or a name is no gate's.
    """
    names = [gate.name for gate in verdict.gates]
    unknown = sorted(set(forced) - set(names))
    if unknown:
        raise GateError(f"there is no gate {', '.join(unknown)}: name one of {', '.join(names)}")
    failed = [gate for gate in verdict.gates if not gate.passed]
    open_ones = [gate for gate in failed if gate.name not in forced]
    if open_ones:
        flags = " ".join(f'--force {gate.name}="WHY"' for gate in open_ones)
        told = "; ".join(gate.sentence for gate in open_ones)
        raise GateError(
            f"this version is not published: {told}. Train and evaluate again, or publish it nevertheless and say "
            f"why, which its manifest keeps: {flags}"
        )
    return Verdict(verdict.gates, verdict.predecessor, {gate.name: forced[gate.name] for gate in failed})


def parse_forced(given: Sequence[str]) -> dict[str, str]:
    """Reasons by gate of ``GATE=WHY`` arguments.

    Raises:
        GateError: If one has no name or no reason.
    """
    forced = {}
    for argument in given:
        name, _, why = argument.partition("=")
        if not name or not why.strip():
            raise GateError(f'--force {argument} has no reason: write --force {name or "GATE"}="WHY"')
        forced[name] = why.strip()
    return forced


def trial_run(evaluation: Figures) -> dict[str, str]:
    """Overrides every gate that does not ask for a predecessor: a run of a few steps is far below them all."""
    names = [gate.name for gate in judge(evaluation, None).gates]
    return dict.fromkeys(names, "a trial run that was never meant to score anybody")


def _bars(variants: Figures) -> Iterator[Gate]:
    yield Gate(_ECE, _figure(variants, "all", "model", "ece"), MAX_ECE, "the calibration error")
    for variant in VARIANTS:
        what = "ndcg10 minus that of gradient boosting"
        gap = _figure(variants, variant, "model", "ndcg10") - _figure(variants, variant, "gbdt", "ndcg10")
        yield Gate(f"gbdt-ndcg10-{variant}", gap, -TOLERANCE, what)
        upper = _figure(variants, variant, "model_minus_gbdt_ci", 1)
        yield Gate(f"gbdt-ndcg10-{variant}-interval", upper, 0.0, f"the upper end of {what}")
        lower = _figure(variants, variant, "model_minus_gbdt_auc_ci", 0)
        what = "the lower end of macro_auc minus that of gradient boosting"
        yield Gate(f"gbdt-macro_auc-{variant}-interval", lower, 0.0, what)


def _fairness(evaluation: Figures) -> Iterator[Gate]:
    """No group's calibration gap is off zero by more than its interval and the tolerance; none where no groups are known."""
    attributes = evaluation.get("fairness", {}).get("attributes", {})
    intervals = [row["calibration_gap_ci"] for rows in attributes.values() for row in rows if "ok" in row]
    if intervals:
        says = "how far a group's calibration gap is surely off zero"
        yield Gate(_FAIRNESS, max(map(surely_off_zero, intervals)), FAIRNESS_TOLERANCE, says)


def surely_off_zero(interval: Sequence[float]) -> float:
    """How far the nearest end of an interval is from zero; 0 if zero lies within."""
    low, high = interval
    return max(low, -high, 0.0)


def _coupons(evaluation: Figures) -> Iterator[Gate]:
    """The ad response says more than the rate seen in fitting; not asked where there are no mailings."""
    asked = evaluation.get("coupon_response")
    if asked:
        constant, ours = (_figure(asked, "test_held_out", name) for name in ("constant_log_loss", "log_loss"))
        says = "the log loss of a constant minus that of the ad response"
        yield Gate("coupon-log-loss", constant - ours, 0.0, says)


def _acts(evaluation: Figures) -> Gate:
    """A purchase says no less than a cart, a cart no less than a click."""
    figure = _figure(evaluation, "acts", "least_step")
    return Gate(_ACTS, figure, 0.0, "the least mean rise of a logit from an act to the next stronger one")


def _against(ours: Figures, theirs: Figures, number: str) -> Iterator[Gate]:
    for variant in VARIANTS:
        for measure in _RANKING:
            gap = _figure(ours, variant, "model", measure) - _figure(theirs, variant, "model", measure)
            yield Gate(
                f"predecessor-{measure}-{variant}",
                gap,
                -TOLERANCE,
                f"{measure} minus that of version {number}",
            )


def _figure(variants: Figures, *path: str | int) -> float:
    found: Any = variants
    try:
        for step in path:
            found = found[step]
        return math.nan if found is None else float(found)
    except (KeyError, IndexError, TypeError) as error:
        raise GateError(
            f"the evaluation has no figure {'.'.join(map(str, path))}, which a gate needs: "
            "run `interestflow-trainer evaluate` again"
        ) from error
