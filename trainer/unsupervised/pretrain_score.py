"""What a pre-trained network says of the next 28 days, beside counters, on a cutoff that choices may see.

Shapes: n households, L interests.
"""

from datetime import date
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from stream.features import HISTORY_FEATURES
from trainer.dates import DAY_SECONDS, HORIZON_DAYS, seconds
from trainer.head_inputs import masks
from trainer.ranking import Question, rank
from trainer.samples import Samples, bought_between, outcomes
from trainer.unsupervised.behaviour_network import BehaviourNetwork
from trainer.unsupervised.sequences import Sequences, padded, read_windows

Scores = NDArray[np.float32]
_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
_DECAYED: Final = HISTORY_FEATURES.index("decayed_weight_112d")
_TIE: Final = 1e-6
_BATCH: Final = 256
#: How much the household's own counts weigh beside the network; chosen before October.
_WEIGHTS: Final = (0.0, 0.5, 1.0, 2.0, 4.0)
_DRAWS: Final = 1000
OWN_COUNTS: Final = "network_and_own_counts"


class Asked(NamedTuple):
    """One cutoff: who, what is asked, and what counters and their inputs say."""

    sequences: Sequences
    questions: dict[str, Question]
    counters: dict[str, Scores]
    own_counts: Scores  # log(1 + decayed purchases), [n, L]


def ask(samples: Samples, day: date, places: int) -> Asked:
    """The households that may be learnt from at a cutoff."""
    households, windows = read_windows(samples, day)
    purchases, shape = samples.purchases(), samples.shape
    history: Scores = samples.snapshot(day).history[households].astype(np.float32)
    bought, _ = outcomes(purchases, day, shape)
    candidates = masks(purchases, day, shape)
    asked = {"all": np.ones_like(bought), "novel8": candidates.novel, "never": candidates.never}
    now = seconds(day)
    month = bought_between(purchases, now - HORIZON_DAYS * DAY_SECONDS, now, shape)[samples.fitted]
    popularity = np.broadcast_to(month.mean(axis=0, dtype=np.float32), (len(households), shape[1]))
    tie = (_TIE * popularity).astype(np.float32)
    return Asked(
        sequences=padded(households, windows, places),
        questions={
            name: Question(bought[households], flags[households], candidates.active[households])
            for name, flags in asked.items()
        },
        counters={
            "popularity": popularity,
            "frequency": history[..., _PURCHASES] + tie,
            "recency_weighted_frequency": history[..., _DECAYED] + tie,
        },
        own_counts=np.log1p(history[..., _DECAYED]),
    )


def next_interests(network: BehaviourNetwork, sequences: Sequences) -> Scores:
    """Log-probabilities [n, L] of what comes behind each sequence."""
    pieces = []
    network.eval()
    for start in range(0, len(sequences.households), _BATCH):
        rows = np.arange(start, min(start + _BATCH, len(sequences.households)))
        with torch.no_grad():
            pieces.append(_behind(network, sequences.of(rows)))
    return np.concatenate(pieces)


def score(network: BehaviourNetwork, before: Asked, asked: Asked, seed: int = 0) -> dict[str, object]:
    """NDCG@10 by variant and model; intervals are of the difference to the best counter.

    Args:
        network: Pre-trained.
        before: An earlier cutoff, on which the weight of own counts is chosen.
        asked: The cutoff that is scored.
        seed: Of the bootstrap over households.
    """
    earlier = next_interests(network, before.sequences)
    ranked = [(_ndcg(earlier + w * before.own_counts, before.questions["novel8"]), w) for w in _WEIGHTS]
    weight = max(ranked)[1]
    said = next_interests(network, asked.sequences)
    models = {**asked.counters, "network": said, OWN_COUNTS: said + weight * asked.own_counts}
    found: dict[str, object] = {"own_counts_weight": weight, "households": len(said)}
    for variant, question in asked.questions.items():
        each = {name: rank(scores, question).ndcg for name, scores in models.items()}
        best = max(asked.counters, key=lambda name: float(each[name].mean()))
        found[variant] = {
            **{name: float(ndcg.mean()) for name, ndcg in each.items()},
            "best_counter": best,
            "difference_ci": interval(each[OWN_COUNTS] - each[best], seed),
        }
    return found


def interval(differences: NDArray[np.float64], seed: int) -> list[float]:
    """95 % interval of the mean by a bootstrap over households."""
    draw = np.random.default_rng(seed)
    count = len(differences)
    means = [differences[draw.integers(0, count, count)].mean() for _ in range(_DRAWS)]
    return [float(bound) for bound in np.quantile(means, [0.025, 0.975])]


def _ndcg(scores: Scores, question: Question) -> float:
    return float(rank(scores, question).ndcg.mean())


def _behind(network: BehaviourNetwork, seen: Sequences) -> Scores:
    """A one-way network says it at the last place; one that sees both ways at a hidden place put behind."""
    length = (seen.texts >= 0).sum(dim=1)
    rows = torch.arange(len(length))
    if network.shape.both_ways:
        seen = _room_behind(seen, length)
        length = (seen.texts >= 0).sum(dim=1)
        hidden = torch.zeros_like(seen.texts, dtype=torch.bool)
        hidden[rows, length] = True
        states = network(seen, hidden)[rows, length]
    else:
        states = network(seen)[rows, length - 1]
    return np.asarray(torch.log_softmax(network.logits(states), dim=-1).numpy(), dtype=np.float32)


def _room_behind(seen: Sequences, length: torch.Tensor) -> Sequences:
    """Full windows without their oldest behaviour."""
    is_full = (length == seen.texts.shape[1])[:, None]
    shifted = [torch.roll(column, -1, dims=1) for column in seen[1:]]
    shifted[0][:, -1] = -1
    columns = (torch.where(is_full, new, old) for new, old in zip(shifted, seen[1:], strict=True))
    return Sequences(seen.households, *columns)
