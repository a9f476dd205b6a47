"""Interest clusters whose ids outlive a retraining.

K-means numbers its clusters as it likes, so a segment "3" in a campaign would mean other users after each fit. Here a new
cluster takes over the id of the old one that it continues: the best one-to-one matching of new to old (Hungarian method,
``scipy.optimize.linear_sum_assignment``), and only where the pair is alike enough. A cluster that continues none gets an
id that was never used; an id that nothing continues is retired for good.

How alike two clusters are is the Jaccard index of their members among the users that both versions know: it needs no
common vector space, so it holds when the encoder was retrained. With too few common users it is the cosine of the
centroids, which needs one encoder for both.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from trainer.errors import TrainerError
from trainer.unsupervised.user_vectors import UserVectors
from trainer.workspace import write_json

Matrix = NDArray[np.float32]

FORMAT: Final = 1
#: A pair must be at least so alike for the id to go on. Half the members of two equal clusters in common is 1/3.
LEAST_JACCARD: Final = 1 / 3
LEAST_COSINE: Final = 0.9
#: Fewer common users say too little about members.
LEAST_COMMON_USERS: Final = 100


class Match(NamedTuple):
    """Which ids the new clusters continue."""

    #: Old id for each new cluster, None for a new one.
    ids: list[int | None]
    #: How alike each is to what it continues; to the best of the old ones where it continues none. NaN without old ones.
    likeness: list[float]
    #: ``members`` or ``centroids``.
    by: str


@dataclass(frozen=True, slots=True)
class Clusters:
    """One version of the clusters; k clusters, D dimensions.

    Args:
        version: Counts the fits, from 1.
        source: What made the user vectors.
        day: Their cutoff, ISO.
        ids: Of the k clusters, ascending.
        centroids: In the order of the ids, [k, D].
        retired: Ids that no later cluster may have, with the version that retired them.
        next_id: The lowest id never used.
        history: What each version did: one entry each, oldest first.
    """

    version: int
    source: str
    day: str
    ids: list[int]
    centroids: Matrix
    retired: dict[int, int]
    next_id: int
    history: list[dict[str, Any]]

    def assign(self, vectors: Matrix) -> NDArray[np.int64]:
        """The id of the nearest centroid for each vector, [n].

        Raises:
            TrainerError: If the vectors have other dimensions.
        """
        if vectors.shape[1] != self.centroids.shape[1]:
            raise TrainerError(
                f"the vectors have {vectors.shape[1]} dimensions, version {self.version} of the clusters "
                f"{self.centroids.shape[1]}; use the model that made them ({self.source}) or fit again"
            )
        return np.array(self.ids, dtype=np.int64)[nearest(vectors, self.centroids)]

    def save(self, path: Path) -> None:
        """Write the file whole or not at all."""
        document = asdict(self)
        document["centroids"] = self.centroids.tolist()
        write_json(path, {"format": FORMAT, **document})

    @classmethod
    def load(cls, path: Path) -> Self:
        """What ``save`` wrote.

        Raises:
            TrainerError: If the file is missing or something else.
        """
        if not path.exists():
            raise TrainerError(
                f"{path} is missing; run `interestflow-trainer clusters fit --out {path}` first"
            )
        try:
            document = json.loads(path.read_text(encoding="utf-8"))
            if document.pop("format") != FORMAT:
                raise TrainerError(f"{path} has another format than {FORMAT}; fit again into a new file")
            document["centroids"] = np.array(document["centroids"], dtype=np.float32)
            document["retired"] = {int(one): version for one, version in document["retired"].items()}
            return cls(**document)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise TrainerError(
                f"{path} holds no clusters ({error}); name the file of `clusters fit`"
            ) from error


def nearest(vectors: Matrix, centroids: Matrix) -> NDArray[np.int64]:
    """Row of the nearest centroid by Euclidean distance, [n]; of equally near ones the first."""
    # |v - c|² without |v|², which is the same for all c.
    return np.asarray(((centroids**2).sum(axis=1) - 2.0 * vectors @ centroids.T).argmin(axis=1))


def first_version(centroids: Matrix, vectors: UserVectors) -> Clusters:
    """Clusters that continue nothing: ids by size, the largest is 1."""
    order = np.argsort(
        -np.bincount(nearest(vectors.vectors, centroids), minlength=len(centroids)), kind="stable"
    )
    ids = list(range(1, len(centroids) + 1))
    entry = _entry(1, vectors, len(ids), continued={}, added=ids, retired=[])
    return Clusters(
        1, vectors.source, vectors.day.isoformat(), ids, centroids[order], {}, len(ids) + 1, [entry]
    )


def next_version(
    last: Clusters, centroids: Matrix, vectors: UserVectors, last_vectors: UserVectors
) -> Clusters:
    """Clusters that keep the ids of what they continue.

    Args:
        last: The version before.
        centroids: The new ones, in any order, [k, D].
        vectors: What the new ones were fitted on.
        last_vectors: What ``last`` was fitted on; says who its members were.
    """
    match = match_clusters(last, centroids, vectors, last_vectors)
    version, next_id = last.version + 1, last.next_id
    ids: list[int] = []
    for old in match.ids:
        ids.append(next_id if old is None else old)
        next_id += old is None
    gone = sorted(set(last.ids) - set(ids))
    continued = {
        one: round(like, 4) for one, old, like in zip(ids, match.ids, match.likeness, strict=True) if old
    }
    added = sorted(one for one, old in zip(ids, match.ids, strict=True) if old is None)
    entry = _entry(version, vectors, len(ids), continued=continued, added=added, retired=gone) | {
        "by": match.by
    }
    order = np.argsort(ids)
    return Clusters(
        version=version,
        source=vectors.source,
        day=vectors.day.isoformat(),
        ids=[ids[row] for row in order],
        centroids=centroids[order],
        retired={**last.retired, **dict.fromkeys(gone, version)},
        next_id=next_id,
        history=[*last.history, entry],
    )


def match_clusters(
    last: Clusters, centroids: Matrix, vectors: UserVectors, last_vectors: UserVectors
) -> Match:
    """Which id each new cluster continues.

    Raises:
        TrainerError: If neither members nor centroids can be compared.
    """
    common, now, then = np.intersect1d(vectors.users, last_vectors.users, return_indices=True)
    if len(common) >= LEAST_COMMON_USERS:
        fresh = nearest(vectors.vectors[now], centroids)
        alike = _jaccard(fresh, len(centroids), last.assign(last_vectors.vectors[then]), last.ids)
        least, by = LEAST_JACCARD, "members"
    elif centroids.shape[1] == last.centroids.shape[1]:
        alike = (_unit(centroids) @ _unit(last.centroids).T).astype(np.float64)
        least, by = LEAST_COSINE, "centroids"
    else:
        raise TrainerError(
            f"version {last.version} has {len(common)} users and {last.centroids.shape[1]} dimensions, of the new vectors "
            f"{len(vectors.users)} and {centroids.shape[1]}: with fewer than {LEAST_COMMON_USERS} common users and other "
            "dimensions no id can go on; fit into a new file"
        )
    rows, columns = linear_sum_assignment(-alike)
    ids: list[int | None] = [None] * len(centroids)
    likeness = alike.max(axis=1).astype(float).tolist()
    for row, column in zip(rows, columns, strict=True):
        if alike[row, column] >= least:
            ids[row], likeness[row] = last.ids[column], float(alike[row, column])
    return Match(ids, likeness, by)


def _jaccard(fresh: NDArray[np.int64], k: int, old: NDArray[np.int64], ids: list[int]) -> NDArray[np.float64]:
    """Members in common over members of either, [k, old k]; ``fresh`` are rows, ``old`` ids of the same users."""
    new_flags = fresh[:, None] == np.arange(k)
    old_flags = old[:, None] == np.array(ids)
    shared = (new_flags.T.astype(np.int64) @ old_flags.astype(np.int64)).astype(np.float64)
    either = new_flags.sum(axis=0)[:, None] + old_flags.sum(axis=0)[None, :] - shared
    return np.asarray(shared / np.maximum(either, 1.0))


def _unit(centroids: Matrix) -> Matrix:
    lengths = np.linalg.norm(centroids, axis=1, keepdims=True)
    return np.asarray(centroids / np.maximum(lengths, 1e-12), dtype=np.float32)


def _entry(
    version: int,
    vectors: UserVectors,
    k: int,
    *,
    continued: Mapping[int, float],
    added: list[int],
    retired: list[int],
) -> dict[str, Any]:
    return {
        "version": version,
        "source": vectors.source,
        "day": vectors.day.isoformat(),
        "users": len(vectors.users),
        "k": k,
        "continued": {str(one): like for one, like in sorted(continued.items())},
        "new": added,
        "retired": retired,
    }
