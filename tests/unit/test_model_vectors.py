"""Each distinct text is encoded once, however many ask for it, and then remembered."""

import asyncio
import gc
from collections.abc import Iterable

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from numpy.typing import NDArray

from stream.errors import ModelUnavailableError
from stream.model.port import Floats
from stream.model.vectors import TextEncoder, VectorCache, VectorKey
from tests.builders import unseen_failures
from tests.fakes_model import FakeModel, RecordingObserver

DIMENSIONS = 4


class Bench:
    """A text encoder on a fake model."""

    def __init__(self, capacity: int = 1000, concurrency: int = 2) -> None:
        self.model = FakeModel(labels=3, dimensions=DIMENSIONS)
        self.cache = VectorCache(capacity)
        self.observer = RecordingObserver()
        self.encoder = TextEncoder(
            self.model, "toy-1", self.cache, concurrency=concurrency, observer=self.observer
        )

    @property
    def asked(self) -> list[str]:
        return [text for texts in self.model.asked_texts for text in texts]

    def ask(self, numbers: Iterable[int]) -> asyncio.Task[dict[int, Floats]]:
        return asyncio.create_task(self.encoder.vectors(numbered(numbers)))


def numbered(numbers: Iterable[int]) -> dict[int, str]:
    return {number: f"text {number}" for number in numbers}


async def turns() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_every_text_gets_its_own_vector() -> None:
    bench = Bench()

    vectors = await bench.encoder.vectors(numbered(range(40)))

    expected = await FakeModel(labels=3, dimensions=DIMENSIONS).encode([f"text {n}" for n in range(40)])
    assert sorted(vectors) == list(range(40))
    assert np.array_equal(np.stack([vectors[number] for number in range(40)]), expected)


async def test_a_text_is_encoded_once() -> None:
    bench = Bench()

    first = await bench.encoder.vectors(numbered([1, 2]))
    again = await bench.encoder.vectors(numbered([2, 3]))

    assert sorted(bench.asked) == ["text 1", "text 2", "text 3"]
    assert again[2] is first[2]
    assert (bench.cache.hits, bench.cache.misses, bench.cache.evictions) == (1, 3, 0)
    assert bench.observer.looked_up == [(0, 2, 0), (1, 1, 2)]


async def test_nothing_to_look_up_asks_nothing() -> None:
    bench = Bench()

    assert await bench.encoder.vectors({}) == {}
    assert bench.model.asked_texts == []


async def test_a_text_on_its_way_is_not_asked_for_again() -> None:
    bench = Bench()
    bench.model.hold()
    first, second = bench.ask([1, 2]), bench.ask([2, 1])
    await turns()

    bench.model.release()

    assert (await first)[1] is (await second)[1]
    assert sorted(bench.asked) == ["text 1", "text 2"]


async def test_calls_take_up_to_16_texts_and_few_are_in_flight() -> None:
    bench = Bench(concurrency=2)
    bench.model.hold()
    waiting = bench.ask(range(50))
    await turns()
    in_flight = len(bench.model.asked_texts)

    bench.model.release()
    await waiting

    assert in_flight == 2
    assert sorted(map(len, bench.model.asked_texts)) == [2, 16, 16, 16]


async def test_texts_of_several_callers_share_a_call_while_the_encoder_is_busy() -> None:
    bench = Bench(concurrency=1)
    bench.model.hold()
    callers = [bench.ask([number]) for number in range(5)]
    await turns()

    bench.model.release()
    await asyncio.gather(*callers)

    assert bench.model.asked_texts == [["text 0"], ["text 1", "text 2", "text 3", "text 4"]]


async def test_texts_of_like_length_share_a_call() -> None:
    bench = Bench(concurrency=1)
    texts = {number: "tea " * (1 + number % 2 * 40) + str(number) for number in range(32)}

    await bench.encoder.vectors(texts)

    assert [max(map(len, texts)) < 10 for texts in bench.model.asked_texts] == [True, False]


async def test_a_failure_is_told_and_not_remembered() -> None:
    bench = Bench()
    bench.model.stop()

    with pytest.raises(ModelUnavailableError, match="the fake was stopped"):
        await bench.encoder.vectors(numbered([1]))
    bench.model.start()

    assert list(await bench.encoder.vectors(numbered([1]))) == [1]


async def test_what_was_encoded_beside_a_failure_is_remembered() -> None:
    bench = Bench(concurrency=1)
    bench.model.fails_after_calls = 1

    with pytest.raises(ModelUnavailableError):
        await bench.encoder.vectors(numbered(range(20)))

    assert len(bench.cache) == 16


async def test_a_defect_of_the_model_reaches_whoever_waits() -> None:
    bench = Bench()
    bench.model.failure = RuntimeError("a defect")

    with pytest.raises(RuntimeError, match="a defect"):
        await bench.encoder.vectors(numbered([1]))


async def test_a_cancelled_caller_takes_nothing_from_the_others() -> None:
    bench = Bench()
    bench.model.hold()
    cancelled, other = bench.ask([1, 2]), bench.ask([1, 2])
    await turns()

    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    bench.model.release()

    assert sorted(await other) == [1, 2]
    assert sorted(bench.asked) == ["text 1", "text 2"]


async def test_a_failure_that_no_one_waits_for_any_more_is_quiet() -> None:
    bench = Bench()
    reported = unseen_failures()
    bench.model.hold()
    cancelled = bench.ask([1])
    await turns()
    cancelled.cancel()
    await asyncio.gather(cancelled, return_exceptions=True)
    # The caller's frame holds the answer, and asyncio complains only as that is collected.
    del cancelled
    bench.model.stop()

    bench.model.release()
    await turns()
    gc.collect()

    assert reported == []


async def test_the_answer_is_complete_even_if_the_cache_is_smaller() -> None:
    bench = Bench(capacity=3)

    vectors = await bench.encoder.vectors(numbered(range(40)))

    assert len(vectors) == 40
    assert (len(bench.cache), bench.cache.evictions) == (3, 37)


async def test_versions_of_the_encoder_share_a_cache_and_no_vector() -> None:
    bench = Bench()
    newer = TextEncoder(bench.model, "toy-2", bench.cache)

    await bench.encoder.vectors(numbered([1]))
    await newer.vectors(numbered([1]))

    assert bench.asked == ["text 1", "text 1"]
    assert len(bench.cache) == 2


async def test_a_vector_is_read_only_and_holds_no_other_row_in_memory() -> None:
    vector = (await Bench().encoder.vectors(numbered(range(5))))[3]

    assert not vector.flags.writeable
    assert vector.base is None


async def test_closing_tells_whoever_waits() -> None:
    bench = Bench(concurrency=1)
    bench.model.hold()
    called, waiting = bench.ask([1]), bench.ask([2])
    await turns()

    await bench.encoder.close()

    for caller in (called, waiting):
        with pytest.raises(ModelUnavailableError, match="this encoder was closed"):
            await caller
    assert bench.asked == ["text 1"]


def vector(number: int) -> NDArray[np.float32]:
    return np.full(DIMENSIONS, number, dtype=np.float32)


def test_a_vector_that_was_looked_up_outlives_one_that_was_not() -> None:
    cache = VectorCache(capacity=2)
    cache.put(("toy-1", 1), vector(1))
    cache.put(("toy-1", 2), vector(2))

    cache.get(("toy-1", 1))
    cache.put(("toy-1", 3), vector(3))

    assert cache.get(("toy-1", 1)) is not None
    assert cache.get(("toy-1", 2)) is None


@given(
    capacity=st.integers(1, 6),
    steps=st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=80),
)
def test_the_cache_holds_the_most_recently_used(capacity: int, steps: list[tuple[bool, int]]) -> None:
    cache, used = VectorCache(capacity), list[int]()

    for is_put, number in steps:
        key: VectorKey = ("toy-1", number)
        held = number in used
        if is_put or held:
            used = [*(other for other in used if other != number), number][-capacity:]
        if is_put:
            cache.put(key, vector(number))
        else:
            assert (cache.get(key) is not None) == held

    assert len(cache) == len(used)
    assert [number for number in range(10) if cache.get(("toy-1", number)) is not None] == sorted(used)
