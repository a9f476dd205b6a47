"""The toy repository on the bundled Triton, and users to score with it."""

from typing import NamedTuple

import numpy as np

from stream.embedded.triton_server import BundledTriton
from stream.model.breaker import BreakerPolicy
from stream.model.failures import FailureKind, ModelCallError
from stream.model.port import Floats
from stream.model.repository import ModelBundle
from stream.model.triton import CallPolicy, TritonModel
from tests.toy_repository import FAULTS

LABELS, DIMENSIONS = 5, 384
#: Long enough for a machine that is busy; a breaker that never opens, so that every call is a real one.
PATIENT = CallPolicy(deadline_seconds=60.0, breaker=BreakerPolicy(failures=1_000_000))


class Users(NamedTuple):
    """Features of n users."""

    history: Floats
    user: Floats
    window: Floats

    def rows(self, rows: slice) -> "Users":
        """Some of them."""
        return Users(self.history[rows], self.user[rows], self.window[rows])


class Served(NamedTuple):
    """The bundled Triton with the toy repository."""

    triton: BundledTriton
    bundle: ModelBundle

    def model(self, policy: CallPolicy = PATIENT) -> TritonModel:
        """A client of its own."""
        return TritonModel(self.triton.grpc_url, self.bundle, policy=policy)


def users(count: int, *, fault: str | None = None) -> Users:
    """Users of all sorts, float32; the last one asks the toy model for the fault."""
    draw = np.random.default_rng(3)
    window = draw.normal(size=(count, 2, DIMENSIONS))
    window /= np.linalg.norm(window, axis=2, keepdims=True)
    user = draw.gamma(1.0, 2.0, size=(count, 11))
    if fault is not None:
        user[-1, 0] = FAULTS[fault]
    history = draw.gamma(0.5, 2.0, size=(count, LABELS, 10))
    return Users(history.astype(np.float32), user.astype(np.float32), window.astype(np.float32))


def kind_of(error: BaseException | None) -> FailureKind | None:
    """Why the model gave nothing."""
    return error.kind if isinstance(error, ModelCallError) else None
