"""Items with images get fused vectors; those without get what they always got."""

import asyncio

import numpy as np
import pytest

from stream.errors import ModelUnavailableError
from stream.fusing import Floats, Fusion, fused
from stream.model.images import ImageCatalogue
from stream.model.item_vectors import ItemEncoder, ItemImages
from stream.model.vectors import TextEncoder, VectorCache
from stream.render import appearance, text_hash
from tests.fakes_model import FakeModel, RecordingObserver

CATALOGUE = ImageCatalogue(["red", "blue"], np.eye(2, dtype=np.float16), "5a")
#: Red images lie to the third direction of texts, blue ones to the fourth.
PROJECTION = np.eye(4, dtype=np.float32)[:, 2:]


class Bench:
    """An item encoder on a fake model of four dimensions."""

    def __init__(self, weight: float = 0.5, catalogue: ImageCatalogue = CATALOGUE) -> None:
        self.model = FakeModel(labels=3, dimensions=4)
        self.cache = VectorCache(100)
        self.observer = RecordingObserver()
        self.fusion = Fusion(PROJECTION, weight)
        self.encoder = self.another(ItemImages(catalogue, self.fusion))

    def another(self, images: ItemImages) -> ItemEncoder:
        return ItemEncoder(self.model, "toy-1", self.cache, images, observer=self.observer)

    async def ask(self, *appeared: str) -> list[Floats]:
        by_hash = {text_hash(one): one for one in appeared}
        vectors = await self.encoder.vectors(by_hash)
        assert vectors.keys() == by_hash.keys()
        return [vectors[text_hash(one)] for one in appeared]


RED, BLUE, GREEN = (appearance("tea cup", image) for image in ("red", "blue", "green"))


async def test_one_text_with_two_images_is_two_vectors_and_is_encoded_once() -> None:
    bench = Bench()

    red, blue, plain = await bench.ask(RED, BLUE, "tea cup")

    (text,) = await FakeModel(labels=3, dimensions=4).encode(["tea cup"])
    assert bench.model.asked_texts == [["tea cup"]]
    assert np.array_equal(plain, text)
    assert np.array_equal(red, fused(text, np.eye(2, dtype=np.float32)[0], bench.fusion))
    assert np.array_equal(blue, fused(text, np.eye(2, dtype=np.float32)[1], bench.fusion))
    assert not np.allclose(red, blue)


async def test_an_image_that_the_catalogue_lacks_leaves_the_text_and_is_counted() -> None:
    bench = Bench()

    green, plain, red = await bench.ask(GREEN, "tea cup", RED)

    assert green is plain
    assert not np.array_equal(red, plain)
    assert bench.observer.images == [(1, 1)]


async def test_a_fused_vector_is_made_once_and_is_read_only() -> None:
    bench = Bench()
    (first,) = await bench.ask(RED)

    (again,) = await bench.ask(RED)

    assert again is first
    assert not again.flags.writeable
    assert bench.observer.images == [(1, 0), (1, 0)]
    assert sum(hits for hits, _, _ in bench.observer.looked_up) == 1


async def test_items_without_images_are_asked_for_as_ever() -> None:
    bench, plain = Bench(), FakeModel(labels=3, dimensions=4)
    texts = {number: f"text {number}" for number in range(20)}
    usual = TextEncoder(plain, "toy-1", VectorCache(100))

    vectors, expected = await bench.encoder.vectors(texts), await usual.vectors(texts)

    assert all(np.array_equal(vectors[number], expected[number]) for number in texts)
    assert bench.model.asked_texts == plain.asked_texts
    assert bench.observer.images == []


async def test_with_weight_0_items_have_their_texts_vectors() -> None:
    red, plain = await Bench(weight=0.0).ask(RED, "tea cup")

    assert np.array_equal(red, plain)


async def test_vectors_of_another_catalogue_weight_or_projection_are_not_taken() -> None:
    bench = Bench()
    (red,) = await bench.ask(RED)
    swapped = ImageCatalogue(["blue", "red"], np.eye(2, dtype=np.float16), "6b")
    others = [
        ItemImages(swapped, bench.fusion),
        ItemImages(CATALOGUE, Fusion(PROJECTION, 1.0)),
        ItemImages(CATALOGUE, Fusion(-PROJECTION, 0.5)),
    ]

    for images in others:
        vectors = await bench.another(images).vectors({text_hash(RED): RED})
        assert not np.allclose(vectors[text_hash(RED)], red)
    same = await bench.another(ItemImages(CATALOGUE, bench.fusion)).vectors({text_hash(RED): RED})
    assert same[text_hash(RED)] is red


async def test_many_new_items_let_other_tasks_have_their_turn() -> None:
    bench, turns = Bench(), 0
    await bench.ask("tea cup")

    async def count_turns() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    other = asyncio.create_task(count_turns())
    await bench.encoder.vectors({number: appearance("tea cup", "red") for number in range(1000)})
    other.cancel()

    assert turns >= 1000 // 32


async def test_without_the_model_there_is_no_vector_and_nothing_is_remembered() -> None:
    bench = Bench()
    bench.model.stop()
    with pytest.raises(ModelUnavailableError):
        await bench.ask(RED)
    bench.model.start()

    (red,) = await bench.ask(RED)

    assert np.linalg.norm(red) == pytest.approx(1.0)


async def test_a_text_encoder_takes_the_text_of_an_item_with_an_image() -> None:
    model = FakeModel(labels=3, dimensions=4)
    encoder = TextEncoder(model, "toy-1", VectorCache(100))

    vectors = await encoder.vectors({1: RED, 2: BLUE, 3: "tea cup"})

    assert np.array_equal(vectors[1], vectors[3])
    assert np.array_equal(vectors[2], vectors[3])
    assert {text for call in model.asked_texts for text in call} == {"tea cup"}
