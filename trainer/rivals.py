"""What every rival of the head says at each cutoff: counters, gradient boosting on three sets of features, sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch

from trainer.baselines import FEATURES_17, FEATURES_31, FEATURES_ALL, Boosting, BoostingRecipe, counters
from trainer.evaluate import GBDT, GBDT_17, GBDT_31, GBDT_LIVE, Scores
from trainer.progress import Progress
from trainer.rows import Split, SplitReader
from trainer.samples import Samples
from trainer.sequence_models import (
    Gru4Rec,
    Histories,
    SasRec,
    SequenceRecipe,
    fit_sequence_model,
    predict_next,
)

#: By model name, one array per cutoff.
ScoresByModel = dict[str, list[Scores]]

_SERVABLE: Final[Mapping[str, tuple[str, ...]]] = {
    GBDT_17: FEATURES_17,
    GBDT_31: FEATURES_31,
    GBDT: FEATURES_ALL,
}
_LIVE: Final = {GBDT_LIVE: FEATURES_ALL}
_SEQUENCES: Final = {"gru4rec": Gru4Rec, "sasrec": SasRec}


@dataclass(frozen=True, slots=True)
class RivalRecipe:
    """How all rivals are fitted."""

    boosting: BoostingRecipe = field(default_factory=BoostingRecipe)
    sequence: SequenceRecipe = field(default_factory=SequenceRecipe)


def rival_scores(
    samples: Samples, reader: SplitReader, splits: Sequence[Split], recipe: RivalRecipe, progress: Progress
) -> ScoresByModel:
    """All rivals that a worker could serve."""
    counted = [counters(split) for split in splits]
    return {
        **{name: [count[name] for count in counted] for name in counted[0]},
        **_sequences(samples, splits, recipe.sequence, progress),
        **_boosted(reader, splits, _SERVABLE, recipe.boosting, progress),
    }


def live_scores(
    reader: SplitReader, splits: Sequence[Split], recipe: RivalRecipe, progress: Progress
) -> ScoresByModel:
    """Gradient boosting with counts of all users up to the cutoff, which a worker does not have."""
    return _boosted(reader, splits, _LIVE, recipe.boosting, progress)


def _boosted(
    reader: SplitReader,
    splits: Sequence[Split],
    features: Mapping[str, tuple[str, ...]],
    recipe: BoostingRecipe,
    progress: Progress,
) -> ScoresByModel:
    fitted = reader.read_fit(every=recipe.every)
    found: ScoresByModel = {}
    for name, chosen in features.items():
        boosting = Boosting(recipe, chosen)
        boosting.fit(fitted, progress(f"fit {name}", recipe.rounds))
        found[name] = [boosting.predict(split.derived) for split in splits]
    return found


def _sequences(
    samples: Samples, splits: Sequence[Split], recipe: SequenceRecipe, progress: Progress
) -> ScoresByModel:
    """Taught by what the fit households bought before validation, as the head is."""
    histories = Histories(samples.purchases(), len(samples.labels))
    households = np.flatnonzero(~samples.held_out)
    found: ScoresByModel = {}
    for name, kind in _SEQUENCES.items():
        torch.manual_seed(recipe.seed)
        model = kind(len(samples.labels), recipe)
        advance = progress(f"fit {name}", recipe.steps)
        fit_sequence_model(model, histories, households, samples.calendar.validation, recipe, advance)
        found[name] = [predict_next(model, histories, split.inputs.households, split.day) for split in splits]
    return found
