"""What an evaluation asked and what the models said: all that a report is made of.

Shapes: n households of one cutoff, L interests, c cutoffs.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from trainer.evaluate import GBDT, MODEL, Scores, questions
from trainer.pooling import Asked
from trainer.ranking import Flags
from trainer.rows import Split

#: Whom the report shows beside one another where the table of all models would be too much.
SHOWN: Final = (MODEL, GBDT, "popularity")


class Scored(NamedTuple):
    """An evaluation's rows."""

    #: The same households at each of the c cutoffs, or nearly.
    splits: Sequence[Split]
    #: By model and cutoff, [n, L]; ``model`` among them.
    scores: Mapping[str, Sequence[Scores]]
    #: Of the head, by cutoff, [n, 3].
    intent: Sequence[Scores]

    def asked(self, variant: str) -> list[Asked]:
        """One variant at every cutoff."""
        return [Asked(split.inputs.households, questions(split.inputs)[variant]) for split in self.splits]

    def shown(self) -> dict[str, Sequence[Scores]]:
        """The models that are shown everywhere."""
        return {name: self.scores[name] for name in SHOWN if name in self.scores}


def among(cutoffs: Sequence[Asked], chosen: Callable[[int], Flags]) -> list[Asked]:
    """The same with fewer households.

    Args:
        cutoffs: What is asked.
        chosen: Gives for the number of a cutoff which of its households stay, [n].
    """
    return [
        cutoff._replace(question=cutoff.question._replace(active=cutoff.question.active & chosen(number)))
        for number, cutoff in enumerate(cutoffs)
    ]


def pooled(cutoffs: Sequence[Asked], scores: Sequence[Scores]) -> tuple[NDArray[np.float32], Flags]:
    """All scores that are asked about, and what came true, over the cutoffs."""
    masks = [cutoff.question.candidates & cutoff.question.active[:, None] for cutoff in cutoffs]
    said = [given[mask] for given, mask in zip(scores, masks, strict=True)]
    bought = [cutoff.question.bought[mask] for cutoff, mask in zip(cutoffs, masks, strict=True)]
    return np.concatenate(said), np.concatenate(bought)
