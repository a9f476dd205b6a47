"""What Triton's refusals mean; the texts are those of the bundled server 2.51."""

import pytest

from stream.errors import ModelUnavailableError
from stream.model.failures import CallsHeldBackError, Failure, FailureKind, ModelCallError, classify

PASSING = [
    (
        "UNAVAILABLE",
        "failed to connect to all addresses; last error: UNKNOWN: ipv4:127.0.0.1:1: Connection refused",
        FailureKind.UNAVAILABLE,
    ),
    ("UNAVAILABLE", "Socket closed", FailureKind.UNAVAILABLE),
    ("CANCELLED", "CANCELLED", FailureKind.UNAVAILABLE),
    (
        "UNAVAILABLE",
        "Request for unknown model: 'interest_head' version 1 is not at ready state",
        FailureKind.NOT_FOUND,
    ),
    (
        "NOT_FOUND",
        "Request for unknown model: 'interest_head' has no available versions",
        FailureKind.NOT_FOUND,
    ),
    ("INTERNAL", "Stub process 'behaviour_encoder_0_0' is not healthy.", FailureKind.STUB_DEAD),
]
LASTING = [
    ("UNAVAILABLE", "[request id: <id_unknown>] Exceeds maximum queue size", FailureKind.OVERLOADED),
    ("UNAVAILABLE", "[request id: <id_unknown>] Request timeout expired", FailureKind.OVERLOADED),
    ("RESOURCE_EXHAUSTED", "Received message larger than max", FailureKind.OVERLOADED),
    ("NOT_FOUND", "Request for unknown model: 'interest_head' version 7 is not found", FailureKind.NOT_FOUND),
    ("DEADLINE_EXCEEDED", "Deadline Exceeded", FailureKind.DEADLINE),
    ("INVALID_ARGUMENT", "unexpected shape for input 'HISTORY'", FailureKind.INVALID),
    (
        "INTERNAL",
        "Failed to process the request(s) for model 'interest_head_0_0', message: ValueError",
        FailureKind.INVALID,
    ),
    ("UNIMPLEMENTED", "", FailureKind.UNAVAILABLE),
]


@pytest.mark.parametrize(("status", "text", "kind"), PASSING)
def test_what_may_pass_at_once_is_worth_a_retry(status: str, text: str, kind: FailureKind) -> None:
    assert classify(status, text) == Failure(kind, is_passing=True)


@pytest.mark.parametrize(("status", "text", "kind"), LASTING)
def test_what_lasts_is_not_asked_again_at_once(status: str, text: str, kind: FailureKind) -> None:
    assert classify(status, text) == Failure(kind, is_passing=False)


@pytest.mark.parametrize("kind", list(FailureKind))
def test_every_kind_says_what_to_do(kind: FailureKind) -> None:
    error = ModelCallError("interest_head", kind, "what happened")

    said, _, cure = str(error).partition("; ")

    assert said == f"interest_head gave no usable answer ({kind}): what happened"
    assert any(thing in cure for thing in ("Triton", "INTERESTFLOW_"))


def test_a_call_held_back_says_for_how_long() -> None:
    error = CallsHeldBackError("interest_head", 0.75)

    assert isinstance(error, ModelUnavailableError)
    assert error.retry_after_seconds == 0.75
    assert "held back for 0.8 s" in str(error)
    assert "if Triton is down, start it" in str(error)  # /readyz shows this one alone
