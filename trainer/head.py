"""interest_head: raw features of one user to calibrated interest scores, purchase intent and a user vector.

Shapes: B users, L interests, F derived features, D = 384. The module is the ONNX contract: it takes the raw inputs of
``stream.features`` and gives SCORES [B, L], INTENT [B, 3] and USER_VECTOR [B, D].
"""

from dataclasses import dataclass
from typing import Final

import torch
from torch import Tensor, nn

from trainer.contract import INTENT_DAYS
from trainer.derived import FEATURES, DerivedFeatures
from trainer.tables import Matrix, Tables
from trainer.user_level import USER_LEVEL, user_level

#: Standardised features are cut here: an outlier in a new shop must not run away.
_CLIP: Final = 6.0
_INTENT_HIDDEN: Final = 32
#: Hidden layers whose mean is taken: one by itself depends on where it began.
_INTENT_OPINIONS: Final = 8
_INTENT_DROPOUT: Final = 0.5


@dataclass(frozen=True, slots=True)
class HeadShape:
    """Sizes of the learnt part."""

    hidden: int = 128
    #: Bends of the calibration curve.
    knots: int = 6


class InterestNetwork(nn.Module):
    """One network shared by all interests; it knows an interest only by its features.

    A vector or bias per interest was tried: it learns last summer's rates by heart and costs novel8 and never their
    order (docs/evaluation.md). Without them a new interest needs a name and its rows in the tables, no training.
    """

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(len(FEATURES), hidden),
            nn.SiLU(),
            nn.Dropout(),  # the recipe says how much
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, 1),
        )

    def forward(self, standard: Tensor) -> Tensor:
        """Logits [B, L] of standardised features [B, L, F]."""
        logits: Tensor = self.layers(standard)
        return logits.squeeze(-1)


class IntentNetwork(nn.Module):
    """Purchase intent of user-level features: half a line, half the mean of small hidden layers, each taught by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.line = nn.Linear(USER_LEVEL, len(INTENT_DAYS))
        self.hidden = nn.ModuleList(_hidden_intent() for _ in range(_INTENT_OPINIONS))

    def opinions(self, standard: Tensor) -> Tensor:
        """What the line and then each hidden layer says of features [B, ``USER_LEVEL``], logits [B, opinions, 3]."""
        return torch.stack([self.line(standard), *(layer(standard) for layer in self.hidden)], dim=1)

    def forward(self, standard: Tensor) -> Tensor:
        """Logits [B, 3]."""
        opinions = self.opinions(standard)
        return 0.5 * (opinions[:, 0] + opinions[:, 1:].mean(dim=1))


def _hidden_intent() -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(USER_LEVEL, _INTENT_HIDDEN),
        nn.SiLU(),
        nn.Dropout(_INTENT_DROPOUT),
        nn.Linear(_INTENT_HIDDEN, len(INTENT_DAYS)),
    )


class MonotoneCurve(nn.Module):
    """A rising piecewise linear curve on logits: the calibration, frozen after training."""

    knots: Tensor
    slopes: Tensor
    offset: Tensor

    def __init__(self, knots: int) -> None:
        super().__init__()
        self.register_buffer("knots", torch.zeros(knots))
        # Slope before the first knot, then how it changes at each.
        self.register_buffer("slopes", torch.tensor([1.0] + [0.0] * knots))
        self.register_buffer("offset", torch.zeros(()))

    def forward(self, logits: Tensor) -> Tensor:
        """Calibrated logits, of the same shape."""
        above = torch.relu(logits.unsqueeze(-1) - self.knots)  # [..., knots]
        return logits * self.slopes[0] + above @ self.slopes[1:] + self.offset


class InterestHead(nn.Module):
    """The whole head, from raw inputs."""

    mean: Tensor
    scale: Tensor
    user_mean: Tensor
    user_scale: Tensor
    everyone: Tensor
    interest_steps: Tensor

    def __init__(self, tables: Tables, interest_vectors: Matrix, shape: HeadShape) -> None:
        super().__init__()
        self.derived = DerivedFeatures(tables, interest_vectors)
        self.register_buffer("mean", torch.zeros(len(FEATURES)))
        self.register_buffer("scale", torch.ones(len(FEATURES)))
        self.network = InterestNetwork(shape.hidden)
        self.intent = IntentNetwork()
        self.register_buffer("user_mean", torch.zeros(USER_LEVEL))
        self.register_buffer("user_scale", torch.ones(USER_LEVEL))
        # Shares of the window vectors and of the profile vector in the user vector.
        self.mix = nn.Parameter(torch.tensor([0.2, 0.5, 1.0]))
        # What is said of a user of whom nothing is known.
        popularity = torch.exp(self.derived.rates[:, 0]).unsqueeze(0) @ self.derived.names
        self.register_buffer("everyone", nn.functional.normalize(popularity, dim=-1) * 1e-3)
        self.score_curve = MonotoneCurve(shape.knots)
        self.register_buffer("interest_steps", torch.zeros(len(interest_vectors)))
        self.intent_curve = MonotoneCurve(1)

    def standardise(self, derived: Tensor) -> Tensor:
        """Zero mean, unit scale, cut at ±6, [B, L, F]."""
        return ((derived - self.mean) / self.scale).clamp(-_CLIP, _CLIP)

    def logits(self, standard: Tensor) -> Tensor:
        """Uncalibrated logits [B, L] of standardised features."""
        logits: Tensor = self.network(standard)
        return logits

    def calibrated(self, logits: Tensor) -> Tensor:
        """Calibrated logits [B, L] of uncalibrated ones: one curve for all interests, and a small step for each."""
        curved: Tensor = self.score_curve(logits)
        return curved + self.interest_steps

    def standardise_level(self, level: Tensor) -> Tensor:
        """User-level features as the intent network wants them, [B, ``USER_LEVEL``]."""
        return ((level - self.user_mean) / self.user_scale).clamp(-_CLIP, _CLIP)

    def intent_logits(self, level: Tensor) -> Tensor:
        """Uncalibrated logits [B, 3] of user-level features [B, ``USER_LEVEL``]."""
        logits: Tensor = self.intent(self.standardise_level(level))
        return logits

    def user_vector(self, history: Tensor, window: Tensor) -> Tensor:
        """Unit vectors [B, D]: window and profile mixed."""
        parts = torch.cat([window, self.derived.profile_vector(history).unsqueeze(1)], dim=1)  # [B, K + 1, D]
        mixed = (parts * self.mix.abs().view(1, -1, 1)).sum(dim=1)
        return nn.functional.normalize(mixed + self.everyone, dim=-1)

    def forward(self, history: Tensor, user: Tensor, window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Scores [B, L] and intent [B, 3], calibrated probabilities, and unit user vectors [B, D]."""
        logits = self.logits(self.standardise(self.derived(history, user, window)))
        scores = torch.sigmoid(self.calibrated(logits))
        intent = torch.sigmoid(self.intent_curve(self.intent_logits(user_level(history, user))))
        return scores, intent, self.user_vector(history, window)
