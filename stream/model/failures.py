"""Why a call of the model server gave nothing usable: a closed list, and what to do about each."""

from enum import StrEnum
from typing import Final, NamedTuple

from stream.errors import ModelUnavailableError


class FailureKind(StrEnum):
    """The label of the calls counter."""

    UNAVAILABLE = "unavailable"
    DEADLINE = "deadline"
    INVALID = "invalid"
    OVERLOADED = "overloaded"
    NOT_FOUND = "not_found"
    STUB_DEAD = "stub_dead"


_CURES: Final = {
    FailureKind.UNAVAILABLE: "start Triton, or correct INTERESTFLOW_MODEL__GRPC_URL",
    FailureKind.DEADLINE: "give Triton more instances or cores, or raise INTERESTFLOW_MODEL__DEADLINE_SECONDS; "
    "if it lasts, restart Triton: a python process that died answers too late as well",
    FailureKind.INVALID: "deploy the same model repository for Triton and for the worker, and see Triton's log",
    FailureKind.OVERLOADED: "give Triton more instances, or lower INTERESTFLOW_MODEL__CONCURRENCY",
    FailureKind.NOT_FOUND: "load this version into Triton, or restart the worker with the repository that it serves",
    FailureKind.STUB_DEAD: "its python process is gone and Triton does not start it again: restart Triton, or set "
    "INTERESTFLOW_MODEL__RESTRICTED_KEY, with which the worker loads the model anew",
}


class ModelCallError(ModelUnavailableError):
    """One call of the model server that failed.

    ``is_passing``: the same call may well succeed at once, so that one retry is worth it.
    """

    def __init__(
        self, model: str, kind: FailureKind, detail: str, *, cure: str | None = None, is_passing: bool = False
    ) -> None:
        self.model = model
        self.kind = kind
        self.detail = detail
        self.is_passing = is_passing
        super().__init__(f"{model} gave no usable answer ({kind}): {detail}; {cure or _CURES[kind]}")


class CallsHeldBackError(ModelCallError):
    """A call that was not made, because those before it failed; the next may be after ``retry_after_seconds``."""

    def __init__(self, model: str, retry_after_seconds: float) -> None:
        self.retry_after_seconds = retry_after_seconds
        super().__init__(
            model,
            FailureKind.UNAVAILABLE,
            f"calls failed in a row and are held back for {retry_after_seconds:.1f} s",
            cure="the errors before this one in the log say why; if Triton is down, start it",
        )


class Failure(NamedTuple):
    """What a gRPC status means for us."""

    kind: FailureKind
    is_passing: bool = False


# The first that fits counts. Triton says several things with one status, so its text decides: a full queue and a
# lost connection are both UNAVAILABLE, an unloading model and a wrong name are both NOT_FOUND.
_MEANINGS: Final = (
    ("UNAVAILABLE", "maximum queue size", Failure(FailureKind.OVERLOADED)),
    ("UNAVAILABLE", "request timeout expired", Failure(FailureKind.OVERLOADED)),
    ("UNAVAILABLE", "not at ready state", Failure(FailureKind.NOT_FOUND, is_passing=True)),
    ("UNAVAILABLE", "", Failure(FailureKind.UNAVAILABLE, is_passing=True)),
    # Not by us: a server that shuts down drops what it has.
    ("CANCELLED", "", Failure(FailureKind.UNAVAILABLE, is_passing=True)),
    ("NOT_FOUND", "has no available versions", Failure(FailureKind.NOT_FOUND, is_passing=True)),
    ("NOT_FOUND", "", Failure(FailureKind.NOT_FOUND)),
    ("INTERNAL", "not healthy", Failure(FailureKind.STUB_DEAD, is_passing=True)),
    ("INTERNAL", "", Failure(FailureKind.INVALID)),
    ("INVALID_ARGUMENT", "", Failure(FailureKind.INVALID)),
    ("DEADLINE_EXCEEDED", "", Failure(FailureKind.DEADLINE)),
    ("RESOURCE_EXHAUSTED", "", Failure(FailureKind.OVERLOADED)),
)


def classify(status: str, message: str) -> Failure:
    """What a failed call means, from its gRPC status name ("UNAVAILABLE") and the server's text."""
    text = message.lower()
    for named, part, failure in _MEANINGS:
        if status == named and part in text:
            return failure
    return Failure(FailureKind.UNAVAILABLE)
