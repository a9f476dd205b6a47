"""What is searched for the interest head, and how one trial of it is judged: a look at the validation month per epoch."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import torch
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from trainer.evaluate import questions
from trainer.fit_head import HeadRecipe, TrainingRows, fit_network, fit_scaling, predict
from trainer.head import InterestHead
from trainer.pooling import Asked, measure
from trainer.progress import Progress
from trainer.rows import Split, SplitReader
from trainer.search.study import FIGURE, VARIANT, Look, SearchPlan, Settings
from trainer.stages import evaluation_protocol
from trainer.tables import Tables
from trainer.train import calibrate, measure_head
from trainer.workspace import Workspace

HEAD_SPACE: Final[dict[str, BaseDistribution]] = {
    "learning_rate": FloatDistribution(3e-4, 1e-2, log=True),
    "weight_decay": FloatDistribution(1e-4, 0.3, log=True),
    "dropout": FloatDistribution(0.0, 0.5),
    "batch": CategoricalDistribution([32, 64, 128]),
}


@dataclass(frozen=True, slots=True)
class HeadSearch:
    """Rows to train each trial's head on, and those to judge it by."""

    tables: Tables
    names: Any  # [L, D]
    rows: TrainingRows
    validation: Split
    recipe: HeadRecipe

    def judge(self, settings: Settings, look: Look) -> dict[str, Any]:
        """Train a head and measure it on the validation month; ``look`` is told the figure after each epoch."""
        recipe = replace(self.recipe, **settings)
        torch.manual_seed(recipe.seed)
        head = InterestHead(self.tables, self.names, recipe.shape)
        fit_scaling(head, self.rows)
        epoch, done = len(self.rows.derived) // recipe.batch, 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            if done % epoch == 0:
                head.network.eval()
                look(self._figure(head))
                head.network.train()

        fit_network(head, self.rows, recipe, advance)
        calibrate(head, self.validation)
        head.interest_steps.zero_()  # they know the month that judges
        return measure_head(head, self.validation)

    def _figure(self, head: InterestHead) -> float:
        question = questions(self.validation.inputs)[VARIANT]
        logits = predict(head, self.validation.derived).numpy()
        asked = Asked(self.validation.inputs.households, question)
        return measure([asked], [logits], probabilities=False)[FIGURE] or 0.0


def head_search(work: Workspace, recipe: HeadRecipe, cutoffs: int, progress: Progress) -> HeadSearch:
    """Read what all trials share.

    Args:
        work: With samples, and with the vectors of a trained encoder.
        recipe: Everything that is not searched.
        cutoffs: Learn from so many of the newest fit cutoffs.
        progress: Shows bars.
    """
    samples, vectors = work.samples(), work.vectors()
    reader = SplitReader(samples, vectors)
    cutoffs = min(cutoffs, len(samples.calendar.fit_cutoffs()))
    splits = reader.read_fit(most=cutoffs, advance=progress("derive features", cutoffs))
    validation = samples.calendar.validation
    return HeadSearch(
        tables=reader.tables(validation),
        names=vectors.names,
        rows=reader.read_training_rows(splits, recipe.seed),
        validation=reader.read(validation, held_out=False),
        recipe=recipe,
    )


def head_plan(work: Workspace, found: HeadSearch, trials: int, seed: int) -> SearchPlan:
    """The plan of a search for these rows."""
    recipe = asdict(found.recipe)
    fixed = {name: value for name, value in recipe.items() if name not in HEAD_SPACE}
    return SearchPlan(
        space=HEAD_SPACE,
        usual={name: recipe[name] for name in HEAD_SPACE},
        fixed={"of": "head", **evaluation_protocol(work.samples()), **fixed, "rows": len(found.rows.derived)},
        trials=trials,
        seed=seed,
    )
