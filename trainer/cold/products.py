"""Products that nobody had bought when the model was trained: told by their place in the catalogue, and by their text.

A month's new products are those whose first purchase by anybody falls into the 28 days after a cutoff. To a model by product id they
are all the same. A model without text may still know the ids of a product's type, category and department, and what the
household and all others bought there; the model with text knows that too. Training uses the months before, each with
its own new products.

Shapes: n households, N of the samples, T texts, P new products, A different texts among these, F features.
"""

from datetime import date
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.cold.catalogue import Lines, new_products, read_lines
from trainer.cold.learner import Learner, LearnerRecipe, Scores, thinned
from trainer.cold.product_features import COLUMNS, FREQUENCY, POPULARITY, product_features
from trainer.dates import DAY_SECONDS, HORIZON_DAYS, RECENT_DAYS, seconds
from trainer.pooling import Asked
from trainer.progress import Progress
from trainer.ranking import Question
from trainer.rows import TextVectors
from trainer.samples import Samples

#: Every so many weekly fit cutoffs: their months do not overlap, and three are rows enough.
_EVERY: Final = 8
_MONTH: Final = HORIZON_DAYS * DAY_SECONDS


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
    draw, rows = np.random.default_rng(recipe.seed), []
    for day in fit_days:
        asked, features = _month(lines, samples, vectors, day, samples.fitted)
        rows.append(thinned(features, asked.question.bought, recipe, draw))
        advance(1)
    learners = {name: Learner(recipe, columns) for name, columns in COLUMNS.items()}
    for learner in learners.values():
        learner.fit(rows)
    cutoffs: list[Asked] = []
    said: dict[str, list[Scores]] = {}
    for day in days:
        asked, features = _month(lines, samples, vectors, day, whose)
        told = {
            "popularity": features[..., POPULARITY],
            "type_frequency": features[..., FREQUENCY],
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
    features = product_features(known, samples.fitted, vectors.texts, households, different, now)
    return asked, features[:, places]
