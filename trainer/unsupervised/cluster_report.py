"""What each cluster is about, in words that a person who plans campaigns can check.

Sensitive interests are left out, as everywhere (``stream.sensitive``). Everything is counted over purchases of the 56 days before the vectors' cutoff; nothing after it is looked at.
"""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from stream.sensitive import DEFAULT_LIST, read_list
from trainer.dates import DAY_SECONDS, HORIZON_DAYS, RECENT_DAYS, seconds
from trainer.errors import TrainerError
from trainer.samples import Purchases, Samples
from trainer.unsupervised.clusters import Clusters
from trainer.unsupervised.user_vectors import UserVectors

_TOP: Final = 5
#: Buyers among the members that a lift must rest on.
_LEAST_BUYERS: Final = 10
#: As if so many members more bought at everybody's rate: keeps the lift of a rare thing from running away.
_SHRINKAGE: Final = 20.0


def cluster_report(clusters: Clusters, vectors: UserVectors, samples: Samples) -> dict[str, Any]:
    """Size, interests, products, purchase rate and nearest cluster of each.

    Args:
        clusters: Any version.
        vectors: Of the users to describe; must be of households in the samples.
        samples: What these bought.

    Raises:
        TrainerError: If no purchases of these users are known.
    """
    rows = {household: row for row, household in enumerate(samples.households)}
    missing = [user for user in vectors.users.tolist() if user not in rows]
    if missing:
        raise TrainerError(
            f"{len(missing)} of {len(vectors.users)} users of the vectors aren't in {samples.directory} (the first is "
            f"{missing[0]}); report with the samples that the vectors were made from"
        )
    households = np.array([rows[user] for user in vectors.users.tolist()], dtype=np.int64)
    members = clusters.assign(vectors.vectors)
    recent = recent_purchases(samples.purchases(), seconds(vectors.day))
    interests = _bought(recent.household, recent.interest, (len(rows), len(samples.labels)))[households]
    products = _bought(recent.household, recent.text, (len(rows), len(samples.texts)))[households]
    interests = without_sensitive(interests, samples.labels.names)
    products = without_sensitive(products, samples.texts)
    baskets = _basket_counts(recent, seconds(vectors.day), len(rows))[households]
    return {
        "version": clusters.version,
        "source": vectors.source,
        "day": vectors.day.isoformat(),
        "users": len(members),
        "clusters": [
            {
                "id": one,
                **_size(members == one),
                "purchase_rate_28d": _rate(baskets[members == one] > 0),
                "baskets_per_member_28d": _rate(baskets[members == one]),
                "interests": top_by_lift(interests, members == one, samples.labels.names),
                "products": top_by_lift(products, members == one, samples.texts),
                "nearest": _nearest(clusters, row),
            }
            for row, one in enumerate(clusters.ids)
        ],
        "purchase_rate_28d": _rate(baskets > 0),
    }


def recent_purchases(purchases: Purchases, now_seconds: int) -> Purchases:
    """Those of the 56 days before a moment."""
    chosen = (purchases.at_seconds >= now_seconds - RECENT_DAYS * DAY_SECONDS) & (
        purchases.at_seconds < now_seconds
    )
    return Purchases(
        household=purchases.household[chosen],
        basket=purchases.basket[chosen],
        interest=purchases.interest[chosen],
        text=purchases.text[chosen],
        at_seconds=purchases.at_seconds[chosen],
    )


def without_sensitive(bought: NDArray[np.bool_], names: Sequence[str]) -> NDArray[np.bool_]:
    """The same with nobody shown as a buyer of what has a sensitive name, [n, things]."""
    listed = read_list(DEFAULT_LIST.read_text(encoding="utf-8"), (), str(DEFAULT_LIST))
    harmless = np.array([listed.topic_of([name]) is None for name in names], dtype=np.bool_)
    return bought & harmless


def top_by_lift(
    bought: NDArray[np.bool_], members: NDArray[np.bool_], names: Sequence[str], top: int = _TOP
) -> list[dict[str, Any]]:
    """What members buy more often than everybody does, most so first.

    Args:
        bought: Which of the things each user bought, [n, things].
        members: Which users are meant, [n].
        names: Of the things.
        top: At most so many; fewer where fewer have ten buyers and a lift above 1.
    """
    everybody = bought.mean(axis=0)
    buyers = bought[members].sum(axis=0)
    share = (buyers + _SHRINKAGE * everybody) / (members.sum() + _SHRINKAGE)
    lift = np.divide(share, everybody, out=np.zeros_like(share), where=everybody > 0)
    lift[buyers < _LEAST_BUYERS] = 0.0
    order = np.argsort(-lift, kind="stable")[:top]
    return [
        {"name": names[row], "lift": round(float(lift[row]), 2), "share": _rate(bought[members, row])}
        for row in order
        if lift[row] > 1.0
    ]


def report_markdown(report: dict[str, Any]) -> str:
    """The report as one table, one line for each cluster."""
    lines = [
        f"Version {report['version']}, {report['users']} users at {report['day']}, vectors of {report['source']}.",
        f"Bought in the last {HORIZON_DAYS} days: {report['purchase_rate_28d']:.0%}.",
        "",
        "| id | users | bought in 28 days | baskets | interests by lift | typical products | nearest (cosine) |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {one['id']} | {one['size']} ({one['share']:.0%}) | {one['purchase_rate_28d']:.0%} "
        f"| {one['baskets_per_member_28d']:.1f} | {_listed(one['interests'])} | {_listed(one['products'], 3)} "
        f"| {one['nearest']['id']} ({one['nearest']['cosine']:.2f}) |"
        for one in report["clusters"]
    ]
    return "\n".join(lines) + "\n"


def _listed(things: Sequence[dict[str, Any]], top: int = _TOP) -> str:
    told = "; ".join(f"{one['name'].replace('|', '/')} {one['lift']:.1f}" for one in things[:top])
    return told or "like everybody"


def _bought(
    household: NDArray[np.int32], thing: NDArray[np.int32], shape: tuple[int, int]
) -> NDArray[np.bool_]:
    flags = np.zeros(shape, dtype=np.bool_)
    flags[household[thing >= 0], thing[thing >= 0]] = True
    return flags


def _basket_counts(recent: Purchases, now_seconds: int, households: int) -> NDArray[np.int64]:
    """Different baskets of each household within the last 28 days, [N]."""
    late = recent.at_seconds >= now_seconds - HORIZON_DAYS * DAY_SECONDS
    pairs = np.unique(np.stack([recent.household[late], recent.basket[late]]), axis=1)
    return np.bincount(pairs[0], minlength=households)


def _size(members: NDArray[np.bool_]) -> dict[str, Any]:
    return {"size": int(members.sum()), "share": _rate(members)}


def _rate(values: NDArray[Any]) -> float:
    """The mean, 0 of nobody."""
    return round(float(values.mean()), 4) if len(values) else 0.0


def _nearest(clusters: Clusters, row: int) -> dict[str, Any]:
    """The other cluster with the most similar centroid."""
    unit = clusters.centroids / np.maximum(np.linalg.norm(clusters.centroids, axis=1, keepdims=True), 1e-12)
    cosines = unit @ unit[row]
    cosines[row] = -np.inf
    other = int(cosines.argmax())
    return {"id": clusters.ids[other], "cosine": round(float(cosines[other]), 4)}
