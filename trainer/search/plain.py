"""What is searched for plain BERT, and how one trial of it is judged: by the looks that its training takes anyway."""

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution

from trainer.plain.fit import PlainRecipe, PlainRun, fit_plain
from trainer.plain.tuning import LEARNING_RATES, RANKED
from trainer.plain.window_text import WindowRows
from trainer.search.study import Look, SearchPlan, Settings

#: Times the usual learning rate of the tuning.
_SLOWEST: Final = 0.1
_FASTEST: Final = 5.0


@dataclass(frozen=True, slots=True)
class PlainSearch:
    """Rows to train each trial on, and those to judge it by.

    Attributes:
        base: Local directory of a Hugging Face BERT.
        fitted: Rows to train on.
        validation: Rows of the validation month.
        recipe: Everything that is not searched.
        out: A trial's checkpoints; removed after it.
    """

    base: Path
    fitted: WindowRows
    validation: WindowRows
    recipe: PlainRecipe
    out: Path

    def judge(self, settings: Settings, look: Look) -> dict[str, Any]:
        """Train one and measure it on the validation month; ``look`` is told the figure of each look."""
        shutil.rmtree(self.out, ignore_errors=True)
        try:
            recipe = replace(self.recipe, **settings)
            figures = fit_plain(
                self.base, self.fitted, self.validation, recipe, PlainRun(self.out, look=look)
            )
        finally:
            shutil.rmtree(self.out, ignore_errors=True)
        found: dict[str, Any] = figures["validation"]
        return found


def plain_space(recipe: PlainRecipe) -> dict[str, BaseDistribution]:
    """What is searched for a tuning; a rank where it has one."""
    usual = LEARNING_RATES[recipe.tuning]
    space: dict[str, BaseDistribution] = {
        "learning_rate": FloatDistribution(_SLOWEST * usual, _FASTEST * usual, log=True),
        "weight_decay": FloatDistribution(1e-4, 0.3, log=True),
        "dropout": FloatDistribution(0.0, 0.3),
    }
    return {**space, "rank": CategoricalDistribution([4, 8, 16, 32])} if recipe.tuning in RANKED else space


def plain_plan(found: PlainSearch, protocol: Mapping[str, Any], trials: int, seed: int) -> SearchPlan:
    """The plan of a search for these rows; ``protocol`` says which samples they are of."""
    space = plain_space(found.recipe)
    recipe = {**asdict(found.recipe), "learning_rate": LEARNING_RATES[found.recipe.tuning]}
    fixed = {name: value for name, value in recipe.items() if name not in space}
    rows = {"rows": len(found.fitted.texts), "validation_rows": len(found.validation.texts)}
    return SearchPlan(
        space=space,
        usual={name: recipe[name] for name in space},
        fixed={"of": "plain", **protocol, **fixed, **rows},
        trials=trials,
        seed=seed,
    )
