"""What the client sends, repeats, holds back and gives up, against a server that follows a script."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from stream.model.breaker import BreakerPolicy
from stream.model.failures import CallsHeldBackError, FailureKind, ModelCallError
from stream.model.port import Scored
from stream.model.repository import ENCODER, HEAD, ModelBundle, load_bundle
from stream.model.triton import CallPolicy, TritonModel
from tests.fakes_model import RecordingObserver, SteppedClock
from tests.scripted_triton import Refusal, ScriptedTriton
from tests.toy_repository import toy_tokenizer, write_toy_repository

LABELS, DIMENSIONS = 5, 32
LOST = Refusal(grpc.StatusCode.UNAVAILABLE, "Socket closed")
FULL = Refusal(grpc.StatusCode.UNAVAILABLE, "[request id: <id_unknown>] Exceeds maximum queue size")
POLICY = CallPolicy(deadline_seconds=20.0, breaker=BreakerPolicy(failures=3, open_seconds=10.0))


class Line:
    """A client and the scripted server that it talks to."""

    def __init__(self, server: ScriptedTriton, bundle: ModelBundle, policy: CallPolicy = POLICY) -> None:
        self.server = server
        self.clock = SteppedClock()
        self.observer = RecordingObserver()
        self.model = TritonModel(server.url, bundle, policy=policy, clock=self.clock, observer=self.observer)

    async def score(self, count: int = 1) -> Scored:
        return await self.model.score(*users(count))

    async def failed_score(self) -> ModelCallError:
        with pytest.raises(ModelCallError) as caught:
            await self.score()
        return caught.value


def users(count: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """Users that the server can tell apart by their first feature, in [0, 1)."""
    features = np.zeros((count, 11), dtype=np.float32)
    features[:, 0] = np.arange(count) / 256
    return (
        np.zeros((count, LABELS, 10), dtype=np.float32),
        features,
        np.zeros((count, 2, DIMENSIONS), dtype=np.float32),
    )


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> ModelBundle:
    directory: Path = tmp_path_factory.mktemp("models")
    return load_bundle(write_toy_repository(directory, labels=LABELS, dimensions=DIMENSIONS))


@pytest.fixture
async def line(bundle: ModelBundle) -> AsyncIterator[Line]:
    async with ScriptedTriton(LABELS, DIMENSIONS) as server:
        line = Line(server, bundle)
        yield line
        server.release()
        await line.model.close()


async def test_the_encoder_gets_padded_int32_tokens_of_the_pinned_version(line: Line) -> None:
    await line.model.encode(["fresh milk", "tea"])

    (asked,) = line.server.asked
    milk = toy_tokenizer().token_to_id("milk")
    assert (asked.model, asked.version) == ("behaviour_encoder", "1")
    assert asked.datatypes == {"INPUT_IDS": "INT32", "ATTENTION_MASK": "INT32"}
    assert asked.tensors["INPUT_IDS"].shape == (2, 16)
    assert asked.tensors["INPUT_IDS"][1, 2] == milk
    assert asked.tensors["ATTENTION_MASK"].sum(axis=1).tolist() == [3, 4]


async def test_the_head_gets_float32_features_of_the_pinned_version(line: Line) -> None:
    await line.score(2)

    (asked,) = line.server.asked
    assert (asked.model, asked.version) == ("interest_head", "1")
    assert asked.datatypes == {"HISTORY": "FP32", "USER": "FP32", "WINDOW": "FP32"}
    assert {name: tensor.shape for name, tensor in asked.tensors.items()} == {
        "HISTORY": (2, 5, 10),
        "USER": (2, 11),
        "WINDOW": (2, 2, 32),
    }


async def test_many_texts_go_in_requests_of_16_by_length_and_come_back_in_order(line: Line) -> None:
    words = ["milk", "bread", "tea"]
    texts = [" ".join([words[row % 3]] * (30 if row % 2 else 1)) for row in range(40)]

    vectors = await line.model.encode(texts)

    shapes = [asked.tensors["INPUT_IDS"].shape for asked in line.server.asked]
    expected = [toy_tokenizer().token_to_id(words[row % 3]) for row in range(40)]
    assert shapes == [(16, 16), (16, 32), (8, 32)]
    assert vectors.argmax(axis=1).tolist() == expected


async def test_many_users_go_in_requests_of_64_and_come_back_in_order(line: Line) -> None:
    scored = await line.score(130)

    assert [len(asked.tensors["USER"]) for asked in line.server.asked] == [64, 64, 2]
    assert scored.scores[:, 0].tolist() == [row / 256 for row in range(130)]
    assert [len(part) for part in scored] == [130, 130, 130]


async def test_a_lost_connection_is_tried_once_more(line: Line) -> None:
    line.server.script = [LOST]

    await line.score()

    assert len(line.server.asked) == 2
    assert line.clock.slept == [0.15]
    assert line.observer.calls == [(HEAD, "ok", 1)]


async def test_it_is_tried_only_once_more(line: Line) -> None:
    line.server.script = [LOST, LOST, None]

    error = await line.failed_score()

    assert (error.model, error.kind) == (HEAD, FailureKind.UNAVAILABLE)
    assert "version 1: UNAVAILABLE 'Socket closed'; start Triton" in str(error)
    assert len(line.server.asked) == 2


async def test_a_full_queue_is_not_tried_again(line: Line) -> None:
    line.server.script = [FULL]

    error = await line.failed_score()

    assert error.kind is FailureKind.OVERLOADED
    assert len(line.server.asked) == 1
    assert line.observer.calls == [(HEAD, "overloaded", 1)]


async def test_no_second_try_is_made_that_the_deadline_has_no_time_for(bundle: ModelBundle) -> None:
    async with ScriptedTriton(LABELS, DIMENSIONS) as server:
        line = Line(server, bundle, CallPolicy(deadline_seconds=20.0))
        line.server.script = [LOST]
        line.server.hold()
        waiting = asyncio.create_task(line.failed_score())
        await server.until_asked(1)
        line.clock.pass_seconds(19.9)
        server.release()
        await waiting
        await line.model.close()

    assert len(server.asked) == 1


async def test_an_answer_too_late_is_given_up_here_and_on_the_server(bundle: ModelBundle) -> None:
    async with ScriptedTriton(LABELS, DIMENSIONS) as server:
        line = Line(server, bundle, CallPolicy(deadline_seconds=0.5))
        server.hold()
        error = await line.failed_score()
        await server.until_given_up(1)
        await line.model.close()

    assert error.kind is FailureKind.DEADLINE
    assert "INTERESTFLOW_MODEL__DEADLINE_SECONDS" in str(error)


async def test_a_cancelled_call_is_cancelled_on_the_server_and_blames_no_one(line: Line) -> None:
    line.server.hold()
    calls = [asyncio.create_task(line.score()) for _ in range(POLICY.breaker.failures)]
    await line.server.until_asked(len(calls))

    for call in calls:
        call.cancel()
    ended = await asyncio.gather(*calls, return_exceptions=True)
    await line.server.until_given_up(len(calls))
    line.server.release()

    assert [type(outcome) for outcome in ended] == [asyncio.CancelledError] * len(calls)
    assert {outcome for _, outcome, _ in line.observer.calls} == {"cancelled"}
    assert len((await line.score()).scores) == 1


async def test_after_failures_in_a_row_calls_are_held_back_until_a_trial_succeeds(line: Line) -> None:
    line.server.script = [FULL] * 4
    for _ in range(3):
        await line.failed_score()

    held_back = await line.failed_score()
    line.clock.pass_seconds(10.0)
    trial = await line.failed_score()
    line.clock.pass_seconds(10.0)
    scored = await line.score()

    assert isinstance(held_back, CallsHeldBackError)
    assert held_back.retry_after_seconds == pytest.approx(10.0)
    assert trial.kind is FailureKind.OVERLOADED
    assert len(scored.scores) == 1
    assert len(line.server.asked) == 5
    assert line.observer.held_back == [HEAD]
    assert line.observer.moves == [(HEAD, True), (HEAD, False)]


async def test_a_failing_encoder_does_not_hold_back_the_head(line: Line) -> None:
    line.server.script = [FULL] * 3
    for _ in range(3):
        with pytest.raises(ModelCallError):
            await line.model.encode(["milk"])

    with pytest.raises(CallsHeldBackError):
        await line.model.encode(["milk"])

    assert len((await line.score()).scores) == 1
    assert line.observer.moves == [(ENCODER, True)]


async def test_a_cancelled_trial_leaves_its_place_to_the_next_call(line: Line) -> None:
    line.server.script = [FULL] * 3
    for _ in range(3):
        await line.failed_score()
    line.clock.pass_seconds(10.0)
    line.server.hold()
    trial = asyncio.create_task(line.score())
    await line.server.until_asked(4)

    trial.cancel()
    await asyncio.gather(trial, return_exceptions=True)
    line.server.release()

    assert len((await line.score()).scores) == 1


@pytest.mark.parametrize(
    "tensors",
    [
        {"SCORES": np.zeros((1, 5))},
        {"SCORES": np.full((1, 5), np.nan), "INTENT": np.zeros((1, 3)), "USER_VECTOR": np.zeros((1, 32))},
        {"SCORES": np.zeros((1, 6)), "INTENT": np.zeros((1, 3)), "USER_VECTOR": np.zeros((1, 32))},
        {"SCORES": np.zeros((0,))},
    ],
    ids=["missing", "nan", "wide", "empty"],
)
async def test_an_unusable_answer_counts_as_a_failure(line: Line, tensors: dict[str, Any]) -> None:
    line.server.script = [tensors] * 3

    errors = [await line.failed_score() for _ in range(3)]

    assert {error.kind for error in errors} == {FailureKind.INVALID}
    assert line.observer.moves == [(HEAD, True)]


async def test_closing_ends_a_call_under_way_as_unavailable_and_not_as_cancelled(line: Line) -> None:
    line.server.hold()
    under_way = asyncio.create_task(line.failed_score())
    await line.server.until_asked(1)

    await line.model.close()

    assert (await under_way).kind is FailureKind.UNAVAILABLE
    assert "this client was closed" in str(await line.failed_score())


async def test_the_users_environment_can_not_put_a_proxy_between(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")

    assert len((await line.score()).scores) == 1
