"""The numbers that the head looks at for each interest, computed inside the exported graph from the raw inputs.

Shapes: B users, L interests, H = 10 history and U = 11 user features, K = 2 window vectors, D = 384, F derived features.
"""

from typing import Final

import torch
from torch import Tensor, nn

from stream.features import HISTORY_FEATURES, USER_FEATURES, WINDOW_HALF_LIVES_DAYS
from trainer.dates import RECENT_DAYS
from trainer.own_history import OWN_FEATURES, own_history
from trainer.tables import RATE_FEATURES, Matrix, Tables
from trainer.user_level import BREADTH_FEATURES, breadth

_DECAYED_28D: Final = HISTORY_FEATURES.index("decayed_weight_28d")
_DECAYED_56D: Final = HISTORY_FEATURES.index("decayed_weight_56d")
_DECAYED_112D: Final = HISTORY_FEATURES.index("decayed_weight_112d")
_DECAYED_224D: Final = HISTORY_FEATURES.index("decayed_weight_224d")
_PURCHASES: Final = HISTORY_FEATURES.index("purchases")
_DAYS_SINCE: Final = HISTORY_FEATURES.index("days_since_purchase")
#: Sharpness of "which interests have a name like this one's".
_WIDE: Final = 0.1
_NARROW: Final = 0.05
_TINY: Final = 1e-6

#: From the user's state alone.
STATE_FEATURES: Final = (*HISTORY_FEATURES, "bought_recently", "bought_ever", *USER_FEATURES)
#: From the state and tables frozen with the model version.
FROZEN_FEATURES: Final = (
    *RATE_FEATURES,
    "neighbours",
    "ease",
    "follows",
    "svd",
    "department_share",
    "department_lift",
    "department_weight",
)
#: From the state and the encoder's vectors.
TEXT_FEATURES: Final = (
    *(f"window_{days:g}d_similarity" for days in WINDOW_HALF_LIVES_DAYS),
    "profile_similarity",
    "name_neighbours_28d",
    "name_neighbours_224d",
)
#: From the state again: rhythm and breadth; and two more of the tables.
MORE_FEATURES: Final = (*OWN_FEATURES, *BREADTH_FEATURES, "neighbours_28d", "department_breadth")
#: All of them in column order; what needs no text ends where the text begins.
FEATURES: Final = (*STATE_FEATURES, *FROZEN_FEATURES, *MORE_FEATURES, *TEXT_FEATURES)
HISTORY_ONLY: Final = len(STATE_FEATURES) + len(FROZEN_FEATURES) + len(MORE_FEATURES)


class DerivedFeatures(nn.Module):
    """Raw inputs to [B, L, F]; nothing in it is learnt by gradient."""

    rates: Tensor
    neighbours: Tensor
    ease: Tensor
    follows: Tensor
    svd_mean: Tensor
    svd_basis: Tensor
    departments: Tensor
    department_share: Tensor
    rarity: Tensor
    names: Tensor
    centred_names: Tensor
    wide: Tensor
    narrow: Tensor

    def __init__(self, tables: Tables, interest_vectors: Matrix) -> None:
        super().__init__()
        for name, array in tables.arrays().items():
            self.register_buffer(name, torch.from_numpy(array))
        vectors = torch.from_numpy(interest_vectors).float()
        centred = nn.functional.normalize(vectors - vectors.mean(dim=0), dim=-1)
        self.register_buffer("names", vectors)
        self.register_buffer("centred_names", centred)
        self.register_buffer("wide", _kernel(centred, _WIDE))
        self.register_buffer("narrow", _kernel(centred, _NARROW))

    def forward(self, history: Tensor, user: Tensor, window: Tensor) -> Tensor:
        """[B, L, F] in the order of ``FEATURES``.

        Args:
            history: [B, L, H], raw as ``stream.features.history_features`` gives it.
            user: [B, U], raw.
            window: [B, K, D], rows of length 1 or 0.
        """
        batch, labels = history.shape[0], history.shape[1]
        since = history[..., _DAYS_SINCE]
        flags = torch.stack([since < RECENT_DAYS, history[..., _PURCHASES] > 0], dim=-1).to(history.dtype)
        own = torch.cat([torch.log1p(history), flags], dim=-1)
        whole = torch.log1p(user).unsqueeze(1).expand(batch, labels, user.shape[-1])
        rates = self.rates.unsqueeze(0).expand(batch, labels, self.rates.shape[-1])
        more = breadth(history).unsqueeze(1).expand(batch, labels, len(BREADTH_FEATURES))
        parts = [
            own,
            whole,
            rates,
            self._from_tables(history),
            own_history(history, user),
            more,
            self._lately(history),
            self._from_text(history, window),
        ]
        return torch.cat(parts, dim=-1)

    def profile_vector(self, history: Tensor) -> Tensor:
        """The decayed counts times the interests' name vectors, unit length or 0, [B, D]."""
        weights = torch.log1p(history[..., _DECAYED_56D]) * self.rarity
        return nn.functional.normalize(weights @ self.names, dim=-1)

    def _from_tables(self, history: Tensor) -> Tensor:
        """[B, L, 7]: what like-minded shoppers buy, and how much of the user's shopping is in the department."""
        neighbours = torch.log1p(history[..., _DECAYED_112D]) @ self.neighbours
        ease = torch.log1p(history[..., _PURCHASES]) @ self.ease
        follows = (1.0 - torch.exp2(-history[..., _DECAYED_28D])) @ self.follows
        centred = torch.log1p(history[..., _DECAYED_224D]) - self.svd_mean
        svd = centred @ self.svd_basis.T @ self.svd_basis + self.svd_mean
        weights = history[..., _DECAYED_56D] @ self.departments  # [B, departments]
        share = weights / (weights.sum(dim=-1, keepdim=True) + _TINY)
        lift = torch.log((share + 1e-3) / (self.department_share + 1e-3))
        by_department = (
            torch.stack([share, lift, torch.log1p(weights)], dim=1) @ self.departments.T
        )  # [B, 3, L]
        return torch.cat(
            [torch.stack([neighbours, ease, follows, svd], dim=-1), by_department.transpose(1, 2)], dim=-1
        )

    def _lately(self, history: Tensor) -> Tensor:
        """[B, L, 2]: neighbours of what was bought lately, and the share of the department that was ever bought."""
        neighbours = torch.log1p(history[..., _DECAYED_28D]) @ self.neighbours
        bought = (history[..., _PURCHASES] > 0).to(history.dtype)
        shares = bought @ (self.departments / self.departments.sum(dim=0)) @ self.departments.T
        return torch.stack([neighbours, shares], dim=-1)

    def _from_text(self, history: Tensor, window: Tensor) -> Tensor:
        """[B, L, 5]: likeness of the window and the profile to the interest's name."""
        user = torch.cat([window, self.profile_vector(history).unsqueeze(1)], dim=1)  # [B, K + 1, D]
        similar = (user @ self.centred_names.T).transpose(1, 2)  # [B, L, K + 1]
        lately = _share(torch.log1p(history[..., _DECAYED_28D]) * self.rarity) @ self.wide
        long = _share(torch.log1p(history[..., _DECAYED_224D]) * self.rarity) @ self.narrow
        return torch.cat([similar, torch.log(torch.stack([lately, long], dim=-1) + 1e-5)], dim=-1)


def _kernel(centred: Tensor, temperature: float) -> Tensor:
    """[L, L]: how a known interest (row) shares itself out over the others by likeness of name."""
    weights = torch.exp((centred @ centred.T - 1.0) / temperature)
    weights.fill_diagonal_(0.0)
    return weights / weights.sum(dim=1, keepdim=True)


def _share(weights: Tensor) -> Tensor:
    return weights / (weights.sum(dim=-1, keepdim=True) + _TINY)
