"""The probe asks for real work."""

from stream.model.failures import FailureKind, ModelCallError
from stream.model.probe import probe
from tests.fakes_model import FakeModel


async def test_a_model_that_works_has_no_problem() -> None:
    model = FakeModel(labels=5, dimensions=8)

    assert await probe(model, labels=5) is None
    assert (len(model.asked_texts), model.asked_users) == (1, [1])


async def test_a_model_that_does_not_answer_says_why() -> None:
    model = FakeModel(labels=5, dimensions=8)
    model.failure = ModelCallError("behaviour_encoder", FailureKind.STUB_DEAD, "not healthy")

    problem = await probe(model, labels=5)

    assert isinstance(problem, ModelCallError)
    assert problem.kind is FailureKind.STUB_DEAD
