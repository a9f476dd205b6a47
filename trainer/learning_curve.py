"""What more users would bring: the same training on growing shares of the users that may be learnt from.

Judged on the held-out users of the validation month, never on the test months, beside gradient boosting and counting that
knew the same share. Each share is three steps; what is finished is not made again.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any, Final

from trainer.baselines import Boosting, counters
from trainer.errors import TrainerError
from trainer.evaluate import GBDT, MODEL, ask_head, report
from trainer.export import export_head
from trainer.parity import onnx_head
from trainer.progress import Progress
from trainer.recipe import Recipe
from trainer.rows import SplitReader
from trainer.stages import evaluation_protocol
from trainer.train import forget_run, train_encoder, train_head
from trainer.workspace import Workspace

Figures = dict[str, Any]

#: The counter that is hard to beat.
_COUNTER: Final = "recency_weighted_frequency"


def learning_curve(
    work: Workspace, shares: Sequence[float], recipe: Recipe, progress: Progress
) -> list[Figures]:
    """Train once per share; figures of each, in the order given.

    A step that was finished before, of the same samples by the same recipe, is read and not made again: a run that was
    killed goes on where it was, and shares can be made one at a time.

    Args:
        work: With samples. Each share's run is kept below it.
        shares: In percent, above 0 to 100.
        recipe: The same for all.
        progress: Shows bars.

    Raises:
        TrainerError: If a share is no percentage or leaves nobody.
    """
    whole = work.samples()
    parts = []
    for share in shares:
        if not 0.0 < share <= 100.0:
            raise TrainerError(
                f"a share of {share:g} % is none: give percentages above 0 up to 100, as 5,10,25"
            )
        directory = work.directory / "learning-curve" / f"{share:g}"
        part = Workspace(directory, work.samples_directory, share / 100.0)
        if not part.samples().fitted.any():
            raise TrainerError(
                f"{share:g} % of {int(whole.fitted.sum())} users leave nobody to learn from: give a larger share"
            )
        parts.append((share, part))
    return [{"share_percent": share, **_point(part, recipe, progress)} for share, part in parts]


def _point(part: Workspace, recipe: Recipe, progress: Progress) -> Figures:
    """The figures of one share."""
    samples = part.samples()
    steps = _Steps(part, recipe)
    encoder = steps.once("encoder", lambda: train_encoder(part, recipe.encoder, progress))
    head = steps.once("head", lambda: train_head(part, recipe.head, progress))
    forget_run(part)
    return {
        "users": int(samples.fitted.sum()),
        "purchase_lines": len(samples.fit_purchases(samples.calendar.validation).household),
        "rows": head["rows"],
        "agreement_unseen_texts": encoder["agreement_unseen_after"],
        "held_out_validation": steps.once("judged", lambda: _judge(part, recipe, progress)),
    }


class _Steps:
    """Steps of a share that are made once; a step that is made again makes those after it again."""

    def __init__(self, part: Workspace, recipe: Recipe) -> None:
        self._part = part
        made_of = {**evaluation_protocol(part.samples()), "recipe": asdict(recipe)}
        self._made_of = json.loads(json.dumps(made_of))  # as it is read back
        self._fresh = True
        part.directory.mkdir(parents=True, exist_ok=True)

    def once(self, name: str, make: Callable[[], Figures]) -> Figures:
        """The figures of a step that is finished, or made now."""
        if self._fresh and (self._part.directory / f"{name}.json").exists():
            kept = self._part.json(name)
            if kept["made_of"] == self._made_of:
                figures: Figures = kept["figures"]
                return figures
        self._fresh = False
        figures = make()
        self._part.save_json(name, {"made_of": self._made_of, "figures": figures})
        return figures


def _judge(part: Workspace, recipe: Recipe, progress: Progress) -> Figures:
    """The exported head, gradient boosting and counting on the held-out users of the validation month."""
    samples, boosting = part.samples(), recipe.rivals.boosting
    export_head(part.head(recipe.head.shape), len(samples.labels), part.head_onnx)
    reader = SplitReader(samples, part.vectors())
    held_out = reader.read(samples.calendar.validation, held_out=True)
    trees = Boosting(boosting)
    trees.fit(reader.read_fit(every=boosting.every), progress(f"fit {GBDT}", boosting.rounds))
    scores = {
        MODEL: [ask_head(onnx_head(part.head_onnx), held_out.inputs).scores],
        GBDT: [trees.predict(held_out.derived)],
        _COUNTER: [counters(held_out)[_COUNTER]],
    }
    return report([held_out], scores)
