"""What every rival of the head says at each cutoff: counters, gradient boosting on three sets of features, sequences."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import chain
from typing import Final

import numpy as np
import torch
from safetensors.torch import load, save

from trainer.baselines import FEATURES_17, FEATURES_31, FEATURES_ALL, Boosting, BoostingRecipe, counters
from trainer.evaluate import GBDT, GBDT_17, GBDT_31, GBDT_LIVE, Scores
from trainer.progress import Progress
from trainer.rival_cache import RivalCache, fingerprint
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
_BAR: Final = {GBDT: FEATURES_ALL}
_LIVE: Final = {GBDT_LIVE: FEATURES_ALL}
_SEQUENCES: Final = {"gru4rec": Gru4Rec, "sasrec": SasRec}


@dataclass(frozen=True, slots=True)
class RivalRecipe:
    """How all rivals are fitted."""

    boosting: BoostingRecipe = field(default_factory=BoostingRecipe)
    sequence: SequenceRecipe = field(default_factory=SequenceRecipe)


class Rivals:
    """Fits the rivals, or takes those that were fitted to the same before, and asks them.

    Args:
        samples: What they are fitted to.
        recipe: How.
        cache: Keeps them.
        progress: Shows bars.
    """

    def __init__(self, samples: Samples, recipe: RivalRecipe, cache: RivalCache, progress: Progress) -> None:
        self._samples = samples
        self._recipe = recipe
        self._cache = cache
        self._progress = progress

    def scores(self, reader: SplitReader, splits: Sequence[Split]) -> ScoresByModel:
        """Of all rivals that a worker could serve."""
        return {
            **_counted(splits),
            **self._sequences(splits),
            **self._boosted(reader, splits, _SERVABLE),
        }

    def bar_scores(self, reader: SplitReader, splits: Sequence[Split]) -> ScoresByModel:
        """Of the counters and of the one that gates hold the head against: the others cost most of an evaluation's time."""
        return {**_counted(splits), **self._boosted(reader, splits, _BAR)}

    def live_scores(self, reader: SplitReader, splits: Sequence[Split]) -> ScoresByModel:
        """Of gradient boosting with counts of all users up to the cutoff, which a worker does not have."""
        return self._boosted(reader, splits, _LIVE)

    def _boosted(
        self, reader: SplitReader, splits: Sequence[Split], features: Mapping[str, tuple[str, ...]]
    ) -> ScoresByModel:
        recipe = self._recipe.boosting
        fitted = reader.read_fit(every=recipe.every)
        found: ScoresByModel = {}
        for name, chosen in features.items():
            boosting = Boosting(recipe, chosen)
            key = boosting.fingerprint(fitted)
            kept = self._cache.find(name, key)
            if kept is None:
                boosting.fit(fitted, self._progress(f"fit {name}", recipe.rounds))
                self._cache.keep(name, key, boosting.dump())
            else:
                boosting.load(kept)
            found[name] = [boosting.predict(split.derived) for split in splits]
        return found

    def _sequences(self, splits: Sequence[Split]) -> ScoresByModel:
        """Taught by what the fit households bought before validation, as the head is."""
        samples, recipe = self._samples, self._recipe.sequence
        histories = Histories(samples.purchases(), len(samples.labels))
        lessons = histories.lessons(np.flatnonzero(samples.fitted), samples.calendar.validation)
        found: ScoresByModel = {}
        for name, kind in _SEQUENCES.items():
            torch.manual_seed(recipe.seed)
            model = kind(len(samples.labels), recipe)
            key = fingerprint(asdict(recipe), chain.from_iterable(lessons))
            kept = self._cache.find(name, key)
            if kept is None:
                advance = self._progress(f"fit {name}", recipe.steps)
                fit_sequence_model(model, histories, lessons, recipe, advance)
                self._cache.keep(name, key, save(model.state_dict()))
            else:
                model.load_state_dict(load(kept))
                model.eval()
            found[name] = [
                predict_next(model, histories, split.inputs.households, split.day) for split in splits
            ]
        return found


def _counted(splits: Sequence[Split]) -> ScoresByModel:
    counted = [counters(split) for split in splits]
    return {name: [count[name] for count in counted] for name in counted[0]}
