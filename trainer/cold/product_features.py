"""What a model is told of a household and a product that nobody has bought yet: by the catalogue's ids, and by text.

Shapes: n households, N of all, T texts, A texts that are asked about, V nodes of one level of the tree, F features.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from trainer.cold.catalogue import NOWHERE, Lines, weights
from trainer.cold.names import centred, lending
from trainer.dates import DAY_SECONDS, HORIZON_DAYS
from trainer.tables import item_neighbours

Floats = NDArray[np.float32]

_HALF_LIVES_DAYS: Final = (28.0, 112.0)
_LEVELS: Final = 3
_MONTH: Final = HORIZON_DAYS * DAY_SECONDS
#: Products that came in so many days, and had a month to sell since, tell how the next ones will do.
_LAUNCH_DAYS: Final = 112
#: So many products of a node that sold like the mean are added to what is known of it.
_LAUNCH_PRIOR: Final = 5.0
_FLOOR: Final = 1e-3
#: A product that hardly anybody buys: one household in a hundred thousand.
_TINY: Final = 1e-5
#: Per level: the household's weights there, how many buy there, how new products there did.
_PER_LEVEL: Final = len(_HALF_LIVES_DAYS) + 2
_HOUSEHOLD: Final = range(1)
#: After the levels: what goes with what the household buys, by half-life, and how many products have the text.
_TREE: Final = range(_HOUSEHOLD.stop, _HOUSEHOLD.stop + _LEVELS * _PER_LEVEL + len(_HALF_LIVES_DAYS) + 1)
#: By half-life: likeness of the text to what the household buys, and how much it buys of texts like this one.
_TEXT: Final = range(_TREE.stop, _TREE.stop + 2 * len(_HALF_LIVES_DAYS))
_TYPE: Final = _TREE.start + (_LEVELS - 1) * _PER_LEVEL

#: The counters: how many buy the product's type, and how much of it the household bought.
POPULARITY: Final = _TYPE + len(_HALF_LIVES_DAYS)
FREQUENCY: Final = _TYPE + len(_HALF_LIVES_DAYS) - 1
#: What each model sees.
COLUMNS: Final = {
    "gbdt_tree": (*_HOUSEHOLD, *_TREE),
    "text_alone": (*_HOUSEHOLD, *_TEXT),
    "text": (*_HOUSEHOLD, *_TREE, *_TEXT),
}


def product_features(
    known: Lines,
    fitted: NDArray[np.bool_],
    vectors: Floats,
    households: NDArray[np.int64],
    asked: NDArray[np.int64],
    now: int,
) -> Floats:
    """[n, A, F].

    Args:
        known: What was bought before the cutoff.
        fitted: Who may be learnt from, [N]: what all shoppers do is theirs.
        vectors: Of the texts, [T, D].
        households: Who is asked about, [n] rows of N.
        asked: Rows of T.
        now: The cutoff, UTC epoch.
    """
    shape = len(fitted), len(vectors)
    own = [np.log1p(weights(known, now, days, shape)[households]) for days in _HALF_LIVES_DAYS]
    size = len(households), len(asked)
    columns = [np.broadcast_to(own[0].sum(axis=1)[:, None], size)]
    for level in range(_LEVELS):
        columns += _at_level(known, fitted, own, asked, now, level)
    ever = np.zeros(shape, dtype=np.float32)
    ever[known.user, known.text] = 1.0
    together = item_neighbours(ever[fitted].astype(np.float64))[:, asked].astype(np.float32)
    columns += [weight @ together for weight in own]
    products = np.bincount(known.text[_first_lines(known)[0]], minlength=len(vectors))
    columns.append(np.broadcast_to(np.log1p(products)[asked], size))
    columns += _by_text(vectors, ever.max(axis=0) > 0, own, asked)
    return np.stack(columns, axis=-1).astype(np.float32)


def _at_level(
    known: Lines,
    fitted: NDArray[np.bool_],
    own: list[Floats],
    asked: NDArray[np.int64],
    now: int,
    level: int,
) -> list[Floats]:
    """The household's weights in each asked text's node, how many households buy there, and how new products there did."""
    nodes = np.where(known.nodes[:, level] == NOWHERE, known.nodes.max() + 1, known.nodes[:, level])
    wanted, count = nodes[asked], int(nodes.max()) + 1
    month = (known.at_seconds >= now - _MONTH) & fitted[known.user]
    buys = np.zeros((len(fitted), count), dtype=np.bool_)
    buys[known.user[month], nodes[known.text[month]]] = True
    rates = np.log(buys[fitted].mean(axis=0) + _FLOOR)
    launches = _launches(known, fitted, nodes, now)
    columns = [_sums(weight, nodes, count)[:, wanted] for weight in own]
    size = columns[0].shape
    return [*columns, *(np.broadcast_to(by_node[wanted], size) for by_node in (rates, launches))]


def _launches(
    known: Lines, fitted: NDArray[np.bool_], nodes: NDArray[np.int64], now: int
) -> NDArray[np.float64]:
    """Log of the share of households that bought a new product of each node in its first month, [V]."""
    first, product = _first_lines(known)
    came, node = known.at_seconds[first], nodes[known.text[first]]
    lately = (came >= now - _MONTH - _LAUNCH_DAYS * DAY_SECONDS) & (came < now - _MONTH)
    counted = lately[product] & fitted[known.user] & (known.at_seconds < came[product] + _MONTH)
    pairs = np.unique(np.stack([known.user[counted], product[counted]]), axis=1)
    count = int(nodes.max()) + 1
    buyers = np.bincount(node[pairs[1]], minlength=count)
    products = np.bincount(node[lately], minlength=count)
    mean = buyers.sum() / max(products.sum(), 1)
    shares = (buyers + _LAUNCH_PRIOR * mean) / (products + _LAUNCH_PRIOR) / fitted.sum()
    return np.asarray(np.log(shares + _TINY))


def _first_lines(known: Lines) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first line of each of P known products [P], and which of them each line is of [m]."""
    _, first, product = np.unique(known.product, return_index=True, return_inverse=True)
    return first, product


def _sums(values: Floats, nodes: NDArray[np.int64], count: int) -> Floats:
    """Values [n, T] summed by node, [n, V]."""
    found = np.zeros((count, len(values)), dtype=np.float32)
    np.add.at(found, nodes, values.T)
    return found.T


def _by_text(
    vectors: Floats, seen: NDArray[np.bool_], own: list[Floats], asked: NDArray[np.int64]
) -> list[Floats]:
    """Likeness of each text to the household's, and what it buys of like ones, without their means over the households."""
    lent = lending(vectors, seen)[:, asked]
    texts = centred(vectors, seen)
    columns = []
    for weight in own:
        profile = weight @ texts
        profile /= np.maximum(np.linalg.norm(profile, axis=1, keepdims=True), 1e-6)
        columns += [profile @ texts[asked].T, weight @ lent]
    return [column - column.mean(axis=0) for column in columns]
