"""Products that nobody had bought when the model was trained: told by their place in the catalogue, and by their text.

A month's new products are those whose first purchase by anybody falls into the 28 days after a cutoff. To a model by product id they
are all the same. A model without text may still know the ids of a product's type, category and department, and what the
household and all others bought there; the model with text knows that too. Training uses the months before, each with
its own new products.

Shapes: n households, N of the samples, T texts, P new products, F features.
"""

from datetime import date
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from trainer.cold.catalogue import NOWHERE, Lines, new_products, read_lines, weights
from trainer.cold.learner import Block, Learner, LearnerRecipe, Scores
from trainer.cold.names import lending
from trainer.dates import DAY_SECONDS, HORIZON_DAYS, RECENT_DAYS, seconds
from trainer.pooling import Asked
from trainer.progress import Progress
from trainer.ranking import Question
from trainer.rows import TextVectors
from trainer.samples import Samples

#: Every so many weekly fit cutoffs: their months do not overlap, and three are rows enough.
_EVERY: Final = 8
_HALF_LIVES_DAYS: Final = (28.0, 112.0)
_MONTH: Final = HORIZON_DAYS * DAY_SECONDS
_FLOOR: Final = 1e-3
#: Per level of the tree: the household's weights and the rate; then how much the household buys.
_WITHOUT: Final = range(3 * (len(_HALF_LIVES_DAYS) + 1) + 1)
_TYPE: Final = 2 * (len(_HALF_LIVES_DAYS) + 1)
#: Likeness to what the household buys and what like texts lend, per half-life, and the rate that they lend.
_WITH: Final = range(len(_WITHOUT) + 2 * len(_HALF_LIVES_DAYS) + 1)


def score_new_products(
    samples: Samples,
    vectors: TextVectors,
    archive: Path,
    recipe: LearnerRecipe,
    progress: Progress,
    *,
    held_out: bool,
) -> tuple[list[Asked], dict[str, list[Scores]]]:
    """What is asked of new products at each cutoff, and what each model says.

    Args:
        samples: Of the archive, at any level.
        vectors: Of the samples' texts.
        archive: Names the products.
        recipe: Of the learner.
        progress: Shows bars.
        held_out: The test cutoffs of the held-out households, else the validation month of the others.
    """
    calendar, lines = samples.calendar, read_lines(archive, samples)
    days = calendar.tests if held_out else (calendar.validation,)
    fit_days = calendar.fit_cutoffs()[::-1][::_EVERY]
    whose = samples.held_out if held_out else samples.fitted
    advance = progress("read new products", len(fit_days) + len(days))
    blocks = []
    for day in fit_days:
        asked, features = _month(lines, samples, vectors, day, samples.fitted)
        blocks.append(Block(features, asked.question.bought))
        advance(1)
    learners = {"gbdt": Learner(recipe, _WITHOUT), "text": Learner(recipe, _WITH)}
    for learner in learners.values():
        learner.fit(blocks)
    cutoffs: list[Asked] = []
    said: dict[str, list[Scores]] = {}
    for day in days:
        asked, features = _month(lines, samples, vectors, day, whose)
        told = {
            "popularity": features[..., _TYPE + len(_HALF_LIVES_DAYS)],
            "type_frequency": features[..., _TYPE + len(_HALF_LIVES_DAYS) - 1],
            **{name: learner.predict(features) for name, learner in learners.items()},
        }
        for name, scores in told.items():
            said.setdefault(name, []).append(scores)
        cutoffs.append(asked)
        advance(1)
    return cutoffs, said


def _month(
    lines: Lines, samples: Samples, vectors: TextVectors, day: date, whose: NDArray[np.bool_]
) -> tuple[Asked, NDArray[np.float32]]:
    """What the active ones of some households bought of a month's new products, and features [n, P, F]."""
    now = seconds(day)
    known = lines.before(now)
    lately = known.user[known.at_seconds >= now - RECENT_DAYS * DAY_SECONDS]
    households = np.flatnonzero(whose & (np.bincount(lately, minlength=len(whose)) > 0))
    products, texts = new_products(lines, now, now + _MONTH)
    bought = np.zeros((len(whose), len(products)), dtype=np.bool_)
    month = (lines.at_seconds >= now) & (lines.at_seconds < now + _MONTH)
    fresh = month & np.isin(lines.product, products)
    bought[lines.user[fresh], np.searchsorted(products, lines.product[fresh])] = True
    bought = bought[households]
    everyone = np.ones(len(households), dtype=np.bool_)
    asked = Asked(households, Question(bought, np.ones_like(bought), everyone))
    different, places = np.unique(texts, return_inverse=True)
    # Tables of everyone come from the households that may be learnt from.
    learnt = _rate(known, samples.fitted, now, len(samples.texts))
    features = _features(known, learnt, vectors.texts, households, different, now)
    return asked, features[:, places]


def _rate(known: Lines, fitted: NDArray[np.bool_], now: int, texts: int) -> NDArray[np.bool_]:
    """Who of the fitted households bought which text in the last 28 days, [fitted, T]."""
    bought = np.zeros((len(fitted), texts), dtype=np.bool_)
    month = known.at_seconds >= now - _MONTH
    bought[known.user[month], known.text[month]] = True
    return bought[fitted]


def _features(
    known: Lines,
    learnt: NDArray[np.bool_],
    vectors: NDArray[np.float32],
    households: NDArray[np.int64],
    asked: NDArray[np.int64],
    now: int,
) -> NDArray[np.float32]:
    """[n, different texts, F]."""
    shape = int(max(known.user.max(), households.max())) + 1, len(vectors)
    own = [weights(known, now, half_life, shape)[households] for half_life in _HALF_LIVES_DAYS]
    columns: list[NDArray[np.floating[Any]]] = [
        column
        for level in range(known.nodes.shape[1])
        for column in _at_level(known, own, learnt, asked, level)
    ]
    size = (len(households), len(asked))
    columns.append(np.broadcast_to(np.log1p(own[0].sum(axis=1))[:, None], size))
    seen = np.logical_or(learnt.any(axis=0), (own[1] > 0).any(axis=0))
    lent = lending(vectors, seen)[:, asked]
    centred = vectors - vectors[seen].mean(axis=0)
    centred /= np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-6)
    for weight in own:
        profile = np.log1p(weight) @ centred
        profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-6)
        columns += [profile @ centred[asked].T, np.log1p(weight) @ lent]
    rate = np.log(learnt.mean(axis=0) @ lent + _FLOOR)
    columns.append(np.broadcast_to(rate, size))
    return np.stack(columns, axis=-1).astype(np.float32)


def _at_level(
    known: Lines,
    own: list[NDArray[np.float32]],
    learnt: NDArray[np.bool_],
    asked: NDArray[np.int64],
    level: int,
) -> list[NDArray[np.floating[Any]]]:
    """The household's weights in each asked text's node of one level, and the rate of households that buy there."""
    nodes, wanted = known.nodes[:, level], known.nodes[asked, level]
    same = (nodes[:, None] == wanted[None]) & (wanted != NOWHERE)[None]  # [T, asked]
    mine = same.astype(np.float32)
    columns: list[NDArray[np.floating[Any]]] = [np.log1p(weight @ mine) for weight in own]
    rate = np.log((learnt.astype(np.float32) @ mine > 0).mean(axis=0) + _FLOOR)
    return [*columns, np.broadcast_to(rate, columns[0].shape)]
