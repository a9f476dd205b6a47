"""What the worker relies on of any model: the fake of the tests and the bundled Triton give the same promises."""

import asyncio
from collections.abc import AsyncIterator
from typing import NamedTuple, Protocol

import numpy as np
import pytest

from stream.errors import ModelUnavailableError
from stream.model.failures import FailureKind
from stream.model.port import Floats, ModelPort
from stream.model.probe import probe
from tests.fakes_model import FakeModel
from tests.toy_served import DIMENSIONS, LABELS, Served, kind_of, users


class Server(Protocol):
    """What can be stopped and started again under a model."""

    def stop(self) -> None: ...

    def start(self) -> None: ...


class Subject(NamedTuple):
    """A model under test and what stands behind it."""

    model: ModelPort
    server: Server


@pytest.fixture(params=["fake", pytest.param("triton", marks=pytest.mark.embedded)])
async def subject(request: pytest.FixtureRequest) -> AsyncIterator[Subject]:
    if request.param == "fake":
        fake = FakeModel(LABELS, DIMENSIONS)
        yield Subject(fake, fake)
        return
    served: Served = request.getfixturevalue("served")
    model = served.model()
    yield Subject(model, served.triton)
    await model.close()


async def test_texts_become_unit_vectors_in_their_order(subject: Subject) -> None:
    there = await subject.model.encode(["fresh milk", "bread", "organic tea"])
    back = await subject.model.encode(["organic tea", "bread", "fresh milk"])

    assert there.shape == (3, DIMENSIONS)
    assert there.dtype == np.float32
    assert np.linalg.norm(there, axis=1) == pytest.approx(np.ones(3), abs=0.01)
    assert there == pytest.approx(back[::-1], abs=1e-5)
    assert np.abs(there[0] - there[1]).max() > 0.01


async def test_a_texts_vector_does_not_depend_on_the_texts_beside_it(subject: Subject) -> None:
    alone = await subject.model.encode(["milk"])
    beside = await subject.model.encode(["fresh organic coffee drinks " * 12, "milk", ""])

    assert beside[1] == pytest.approx(alone[0], abs=1e-5)


async def test_more_texts_than_fit_one_request_keep_their_order(subject: Subject) -> None:
    texts = [f"{'milk ' * (row % 7)}tea {'bread ' * (row % 3)}" for row in range(40)]

    together = await subject.model.encode(texts)

    assert together[37] == pytest.approx((await subject.model.encode([texts[37]]))[0], abs=1e-5)
    assert together[2] == pytest.approx((await subject.model.encode([texts[2]]))[0], abs=1e-5)


async def test_users_get_probabilities_for_every_interest_and_intent(subject: Subject) -> None:
    scored = await subject.model.score(*users(3))

    assert [part.shape for part in scored] == [(3, LABELS), (3, 3), (3, DIMENSIONS)]
    assert {part.dtype for part in scored} == {np.dtype(np.float32)}
    assert all(np.isfinite(part).all() for part in scored)
    for probabilities in (scored.scores, scored.intent):
        assert probabilities.min() >= 0.0
        assert probabilities.max() <= 1.0
    # Whoever buys within a day also buys within three, and within seven.
    assert (np.diff(scored.intent, axis=1) >= 0.0).all()


async def test_a_users_scores_do_not_depend_on_the_users_beside_them(subject: Subject) -> None:
    many = users(20)

    together = await subject.model.score(*many)
    alone = await subject.model.score(*many.rows(slice(7, 8)))

    for part, single in zip(together, alone, strict=True):
        assert part[7] == pytest.approx(single[0], abs=1e-5)


async def test_more_users_than_fit_one_request_keep_their_order(subject: Subject) -> None:
    many = users(130)

    together = await subject.model.score(*many)
    last = await subject.model.score(*many.rows(slice(129, 130)))

    assert len(together.scores) == 130
    assert together.scores[129] == pytest.approx(last.scores[0], abs=1e-5)


async def test_nothing_asked_is_nothing_answered(subject: Subject) -> None:
    assert (await subject.model.encode([])).shape == (0, DIMENSIONS)
    assert [part.shape for part in await subject.model.score(*users(0))] == [
        (0, LABELS),
        (0, 3),
        (0, DIMENSIONS),
    ]


async def test_concurrent_calls_get_their_own_answers(subject: Subject) -> None:
    many = users(24)
    expected = await subject.model.score(*many)

    encoding = [asyncio.create_task(subject.model.encode(["milk"])) for _ in range(4)]
    answers = await asyncio.gather(
        *(subject.model.score(*many.rows(slice(row, row + 1))) for row in range(24))
    )
    await asyncio.gather(*encoding)

    for row, answer in enumerate(answers):
        assert answer.scores[0] == pytest.approx(expected.scores[row], abs=1e-5)


async def test_a_user_of_whom_nothing_is_known_and_any_text_pass_the_probe(subject: Subject) -> None:
    assert await probe(subject.model, LABELS) is None


async def test_a_stopped_server_is_unavailable_and_serves_again_when_it_is_back(subject: Subject) -> None:
    before = await subject.model.score(*users(2))
    await asyncio.to_thread(subject.server.stop)

    with pytest.raises(ModelUnavailableError) as scoring:
        await subject.model.score(*users(2))
    with pytest.raises(ModelUnavailableError) as encoding:
        await subject.model.encode(["milk"])
    problem = await probe(subject.model, LABELS)
    await asyncio.to_thread(subject.server.start)

    assert {kind_of(error) for error in (scoring.value, encoding.value, problem)} == {FailureKind.UNAVAILABLE}
    assert (await answered(subject.model)) == pytest.approx(before.scores, abs=1e-5)


async def answered(model: ModelPort) -> Floats:
    """The scores, once the connection is back: gRPC tries again at most a second after the last failure."""
    for _ in range(300):
        try:
            return (await model.score(*users(2))).scores
        except ModelUnavailableError:
            await asyncio.sleep(0.1)
    pytest.fail("the model did not come back")
