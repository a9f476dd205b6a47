"""What the client makes of a bundled Triton whose models misbehave."""

import asyncio
from pathlib import Path

import pytest

from stream.errors import ModelUnavailableError
from stream.model.failures import FailureKind
from stream.model.probe import probe
from stream.model.repository import load_bundle
from stream.model.triton import TritonModel
from tests.toy_repository import write_toy_repository
from tests.toy_served import DIMENSIONS, LABELS, PATIENT, Served, kind_of, users

pytestmark = pytest.mark.embedded


@pytest.mark.parametrize("fault", ["nan", "wide", "raise"])
async def test_a_model_that_answers_nonsense_is_invalid(served: Served, fault: str) -> None:
    model = served.model()

    with pytest.raises(ModelUnavailableError) as scoring:
        await model.score(*users(3, fault=fault))
    with pytest.raises(ModelUnavailableError) as encoding:
        await model.encode(["milk", f"milk {fault}"])
    await model.close()

    assert kind_of(scoring.value) is kind_of(encoding.value) is FailureKind.INVALID


async def test_a_label_set_that_the_server_did_not_load_is_invalid(served: Served) -> None:
    model = served.model()

    with pytest.raises(ModelUnavailableError, match="scores would be read under wrong names") as caught:
        await model.score(*users(3, fault="labels"))
    await model.close()

    assert kind_of(caught.value) is FailureKind.INVALID


async def test_a_repository_of_other_labels_than_the_servers_is_invalid(
    served: Served, tmp_path: Path
) -> None:
    other = load_bundle(write_toy_repository(tmp_path, labels=LABELS + 1, dimensions=DIMENSIONS))
    model = TritonModel(served.triton.grpc_url, other, policy=PATIENT)

    with pytest.raises(
        ModelUnavailableError, match=r"SCORES is float32 \[3, 5\] instead of float32 \[3, 6\]"
    ):
        await model.score(*users(3))
    await model.close()


async def test_a_slow_model_is_given_up_at_the_deadline(served: Served) -> None:
    model = served.model(PATIENT._replace(deadline_seconds=0.3))

    with pytest.raises(ModelUnavailableError) as caught:
        await model.score(*users(1, fault="slow"))
    await model.close()

    assert kind_of(caught.value) is FailureKind.DEADLINE


async def test_a_cancelled_call_stays_cancelled_and_the_next_is_answered(served: Served) -> None:
    model = served.model()
    call = asyncio.create_task(model.score(*users(1, fault="slow")))
    await asyncio.sleep(0)

    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call

    assert len((await model.score(*users(2))).scores) == 2
    await model.close()


async def test_more_than_the_queue_holds_is_overload_and_not_a_lost_server(served: Served) -> None:
    model = served.model()

    answers = await asyncio.gather(
        model.encode(["slow"]), *(model.encode(["milk"]) for _ in range(60)), return_exceptions=True
    )
    await model.close()

    assert {kind_of(answer) for answer in answers if isinstance(answer, BaseException)} == {
        FailureKind.OVERLOADED
    }


async def test_a_version_that_is_not_served_is_not_found(served: Served, tmp_path: Path) -> None:
    newer = load_bundle(write_toy_repository(tmp_path, labels=LABELS, version="2"))
    model = TritonModel(served.triton.grpc_url, newer, policy=PATIENT)

    with pytest.raises(ModelUnavailableError, match="version 2") as caught:
        await model.encode(["milk"])
    await model.close()

    assert kind_of(caught.value) is FailureKind.NOT_FOUND


async def test_a_dead_python_process_is_seen_by_the_probe_though_triton_says_ready(mortal: Served) -> None:
    model = mortal.model()
    with pytest.raises(ModelUnavailableError):
        await model.encode(["die"])

    problem = await probe(model, LABELS)
    says_ready = await asyncio.to_thread(mortal.triton.is_ready)
    await model.close()

    assert says_ready
    assert kind_of(problem) is FailureKind.STUB_DEAD
