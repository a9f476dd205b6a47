"""From events to scores: one name with two pictures is two things, on the fake and on the bundled Triton."""

from collections.abc import AsyncIterator, Sequence
from typing import Any

import numpy as np
import pytest

from stream.features import history_features, user_features, window_vectors
from stream.fold import fold_event
from stream.fusing import Fusion
from stream.model.images import ImageCatalogue
from stream.model.item_vectors import ItemEncoder, ItemImages
from stream.model.port import Floats, ModelPort, Scored
from stream.model.vectors import TextEncoder, VectorCache
from stream.state import UserState
from stream.window import WindowPolicy
from tests.builders import NOW_MS, TEA, decoded, received
from tests.fakes_model import FakeModel
from tests.toy_served import DIMENSIONS, LABELS, Served

IMAGES = 6
CATALOGUE = ImageCatalogue(["front", "back"], np.eye(2, IMAGES, dtype=np.float16), "5a")
FUSION = Fusion(
    np.random.default_rng(1).normal(size=(DIMENSIONS, IMAGES)).astype(np.float32) / np.float32(10), 1.0
)


@pytest.fixture(params=["fake", pytest.param("triton", marks=pytest.mark.embedded)])
async def model(request: pytest.FixtureRequest) -> AsyncIterator[ModelPort]:
    if request.param == "fake":
        yield FakeModel(LABELS, DIMENSIONS)
        return
    served: Served = request.getfixturevalue("served")
    client = served.model()
    yield client
    await client.close()


class Shop:
    """Users who each saw the same two items, with images or without."""

    def __init__(self, *image_ids: Sequence[str | None]) -> None:
        self.texts: dict[int, str] = {}
        self.states = [self._seen(user) for user in image_ids]

    def _seen(self, image_ids: Sequence[str | None]) -> UserState:
        state = UserState()
        for offset, image_id in enumerate(image_ids):
            item: dict[str, Any] = TEA if image_id is None else {**TEA, "image_id": image_id}
            event = decoded(event_id=f"e{offset}", items=[item])
            place = received(offset, event_id=f"e{offset}")
            fold_event(state, event, place, WindowPolicy(), self.texts)
        return state

    async def scored(self, model: ModelPort, encoder: TextEncoder) -> Scored:
        vectors = await encoder.vectors(self.texts)
        return await model.score(
            np.stack([history_features(state, {}, LABELS, NOW_MS) for state in self.states]),
            np.stack([user_features(state, NOW_MS) for state in self.states]),
            np.stack([self._window(state, vectors) for state in self.states]),
        )

    @staticmethod
    def _window(state: UserState, vectors: dict[int, Floats]) -> Floats:
        return window_vectors(
            state.window, [vectors.get(one) for one in state.window.texts], DIMENSIONS, NOW_MS
        )


def item_encoder(model: ModelPort) -> ItemEncoder:
    return ItemEncoder(model, "toy-1", VectorCache(100), ItemImages(CATALOGUE, FUSION))


async def test_users_of_one_name_and_two_images_differ(model: ModelPort) -> None:
    shop = Shop(["front", "front"], ["back", "back"], ["front", "front"], ["front", "back"])

    front, back, same, both = (await shop.scored(model, item_encoder(model))).user_vectors

    assert np.abs(front - back).max() > 0.01
    assert np.array_equal(front, same)
    # Who saw both stands between them.
    assert front @ back < front @ both < 1.0
    assert front @ back < back @ both < 1.0


async def test_scores_follow_the_images_where_the_head_reads_the_window() -> None:
    model = FakeModel(LABELS, DIMENSIONS)

    front, back = (await Shop(["front"], ["back"]).scored(model, item_encoder(model))).scores

    assert np.abs(front - back).max() > 1e-4


async def test_without_a_catalogue_images_change_nothing(model: ModelPort) -> None:
    named, plain = Shop(["front", "back"], ["other"]), Shop([None, None], [None])
    encoder = TextEncoder(model, "toy-1", VectorCache(100))

    with_ids, without = await named.scored(model, encoder), await plain.scored(model, encoder)

    for one, other in zip(with_ids, without, strict=True):
        assert np.array_equal(one, other)


async def test_images_that_the_catalogue_lacks_change_nothing(model: ModelPort) -> None:
    unknown, plain = Shop(["other", "another"]), Shop([None, None])

    theirs = await unknown.scored(model, item_encoder(model))
    ours = await plain.scored(model, TextEncoder(model, "toy-1", VectorCache(100)))

    for one, other in zip(theirs, ours, strict=True):
        assert np.array_equal(one, other)
