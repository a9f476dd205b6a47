"""How many clusters: for each number in a grid, how well they are apart and how well they come again.

Two figures, because each alone can be fooled. The silhouette (Rousseeuw 1987, -1 to 1) says how much nearer users are
to their own cluster than to the next; it likes few, coarse clusters. Stability (Ben-Hur et al. 2002) is the mean adjusted
Rand index of all pairs of clusterings fitted on bootstrap samples with other seeds, each asked about all users: 1 if
they agree, 0 if no better than chance. A split that doesn't come again is no segment to act on.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.metrics import adjusted_rand_score, silhouette_score

from trainer.errors import TrainerError

Matrix = NDArray[np.float32]

#: The silhouette compares all pairs; so many users tell it to the second digit.
_SILHOUETTE_USERS: Final = 2000


@dataclass(frozen=True, slots=True)
class ClusterRecipe:
    """How clusters are looked for; the same recipe and vectors give the same clusters."""

    #: Numbers of clusters to try.
    grid: tuple[int, ...] = (3, 4, 5, 6, 8, 10, 12, 16, 20)
    #: Bootstrap samples whose clusterings are compared pair by pair.
    bootstraps: int = 6
    #: Starts of each K-means; the best one counts.
    starts: int = 4
    #: Among the numbers at least so stable the best silhouette is taken.
    least_stability: float = 0.6
    seed: int = 0


class Candidate(NamedTuple):
    """One number of clusters and its figures."""

    k: int
    silhouette: float
    #: Mean adjusted Rand index over pairs of bootstraps, and the worst pair.
    stability: float
    worst_pair: float
    #: Share of users in the smallest cluster.
    smallest_ratio: float


def try_each(
    vectors: Matrix, recipe: ClusterRecipe, advance: Callable[[int], None] = lambda _: None
) -> list[Candidate]:
    """The figures of each number in the grid.

    Args:
        vectors: Of n users, [n, D].
        recipe: The grid and how often to try.
        advance: Told after each number.

    Raises:
        TrainerError: If a number in the grid has no meaning for so many users.
    """
    count = len(vectors)
    wrong = [k for k in recipe.grid if not 2 <= k < count]
    if wrong or not recipe.grid:
        raise TrainerError(
            f"{', '.join(map(str, wrong)) or 'an empty grid'} clusters of {count} users can't be judged; give numbers "
            f"from 2 to {count - 1} with --grid"
        )
    if recipe.bootstraps < 2:
        raise TrainerError(f"{recipe.bootstraps} bootstraps have no pair to compare; take at least 2")
    candidates = []
    for k in recipe.grid:
        candidates.append(_judge(vectors, k, recipe))
        advance(1)
    return candidates


def choose(candidates: Sequence[Candidate], least_stability: float) -> Candidate:
    """The best silhouette among the stable ones; the most stable one where none is stable enough."""
    stable = [one for one in candidates if one.stability >= least_stability]
    if stable:
        return max(stable, key=lambda one: (one.silhouette, -one.k))
    return max(candidates, key=lambda one: (one.stability, -one.k))


def fit_kmeans(vectors: Matrix, k: int, starts: int, seed: int) -> KMeans:
    """K-means (Lloyd, k-means++ starts) as scikit-learn has it."""
    return KMeans(n_clusters=k, n_init=starts, random_state=seed).fit(vectors)


def _judge(vectors: Matrix, k: int, recipe: ClusterRecipe) -> Candidate:
    count = len(vectors)
    draw = np.random.default_rng(recipe.seed)
    told = []
    for number in range(recipe.bootstraps):
        drawn = vectors[draw.integers(0, count, count)]
        told.append(fit_kmeans(drawn, k, recipe.starts, recipe.seed + 1 + number).predict(vectors))
    pairs = [adjusted_rand_score(one, other) for one, other in combinations(told, 2)]
    members = fit_kmeans(vectors, k, recipe.starts, recipe.seed).labels_
    sizes = np.bincount(members, minlength=k)
    return Candidate(
        k=k,
        silhouette=_silhouette(vectors, members, recipe.seed),
        stability=float(np.mean(pairs)),
        worst_pair=float(np.min(pairs)),
        smallest_ratio=float(sizes.min() / count),
    )


def _silhouette(vectors: Matrix, members: NDArray[np.int32], seed: int) -> float:
    """0 where all users of the sample fell into one cluster."""
    rows = np.random.default_rng(seed).permutation(len(vectors))[:_SILHOUETTE_USERS]
    if len(np.unique(members[rows])) < 2 or len(np.unique(members[rows])) == len(rows):
        return 0.0
    return float(silhouette_score(vectors[rows], members[rows]))
