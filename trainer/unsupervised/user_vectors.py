"""User vectors as a file: who, where they stand, and which model said so at which moment.

Shapes: n users, D dimensions.
"""

from datetime import date
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from stream.model.repository import load_bundle
from trainer.contract import HEAD
from trainer.errors import TrainerError
from trainer.evaluate import ask_head
from trainer.head_inputs import read_inputs
from trainer.models import published_models
from trainer.samples import Samples

Matrix = NDArray[np.float32]

_FIELDS: Final = ("users", "vectors", "source", "day")


class UserVectors(NamedTuple):
    """One vector for each user."""

    users: NDArray[np.str_]  # [n] ids, each once
    vectors: Matrix  # [n, D]
    #: What made the vectors: a name and a version.
    source: str
    #: The cutoff: nothing from that midnight on is in the vectors.
    day: date

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.draft.npz")
        np.savez(draft, users=self.users, vectors=self.vectors, source=self.source, day=self.day.isoformat())
        draft.replace(path)


def load_user_vectors(path: Path) -> UserVectors:
    """What ``UserVectors.save`` wrote.

    Raises:
        TrainerError: If the file is missing, is something else, or its parts don't fit together.
    """
    if not path.exists():
        raise TrainerError(f"{path} is missing; run `interestflow-trainer user-vectors --out {path}` first")
    try:
        with np.load(path) as arrays:
            users, vectors, source, day = (arrays[name] for name in _FIELDS)
    except (KeyError, ValueError, OSError) as error:
        raise TrainerError(
            f"{path} holds no user vectors ({error}); write it again with `interestflow-trainer user-vectors`"
        ) from error
    if vectors.ndim != 2 or len(users) != len(vectors) or len(np.unique(users)) != len(users):
        raise TrainerError(
            f"{path} has {len(users)} users, {len(np.unique(users))} of them different, and vectors of shape "
            f"{vectors.shape}; it must be one vector for each user, each user once"
        )
    if not np.isfinite(vectors).all():
        raise TrainerError(f"{path} has vectors that are not finite; look at the model that made them")
    return UserVectors(users, vectors, str(source), date.fromisoformat(str(day)))


def head_user_vectors(samples: Samples, repository: Path, day: date) -> UserVectors:
    """USER_VECTOR of a published version for all households that may be learnt from, at one cutoff.

    Args:
        samples: With a snapshot of the day.
        repository: Holds encoder and head; the highest version is asked.
        day: A fit cutoff or the validation cutoff.

    Raises:
        TrainerError: If the day is no such cutoff.
        ModelRepositoryError: If no whole version is published there.
    """
    require_cutoff(samples, day)
    bundle = load_bundle(repository)
    models = published_models(repository, bundle, samples)
    inputs = read_inputs(samples, samples.purchases(), day, models.vectors.texts, held_out=False)
    users = np.array(samples.households)[inputs.households]
    return UserVectors(
        users, ask_head(models.head, inputs).user_vectors, f"{HEAD} {bundle.head.version}", day
    )


def require_cutoff(samples: Samples, day: date) -> None:
    """Refuse a day that has no snapshot, or that choices may not see.

    Raises:
        TrainerError: If the day is neither a fit cutoff nor the validation cutoff.
    """
    allowed = [*samples.calendar.fit_cutoffs(), samples.calendar.validation]
    if day not in allowed:
        days = ", ".join(one.isoformat() for one in allowed)
        raise TrainerError(f"{day} is no cutoff that may be looked at while choosing; take one of {days}")
