"""Images of a made shop: a projection that is known is found, and samples are fused as a worker fuses."""

import asyncio
from array import array
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("torch", reason="needs the trainer extra: pip install 'interestflow[trainer]'")

from stream.features import window_vectors
from stream.fusing import Floats, Fusion, fused
from stream.model.images import ImageCatalogue, read_images
from stream.model.item_vectors import ItemEncoder, ItemImages
from stream.model.vectors import VectorCache
from stream.render import text_hash
from stream.window import BehaviourWindow
from tests.fakes_model import FakeModel
from tests.shop_files import purchase, write_archive
from trainer.bundles import BundleFold
from trainer.contract import DIMENSIONS
from trainer.dates import seconds
from trainer.errors import TrainerError
from trainer.events.reading import stored_records
from trainer.head_inputs import pooled_windows
from trainer.images import fit_fusion, fit_projection, fused_texts, image_counts, keep_fusion, kept_fusion
from trainer.record import plan_samples, write_samples
from trainer.sample_check import CheckSize, check_samples
from trainer.samples import Samples

pytestmark = pytest.mark.trainer

ITEMS, IMAGE_NUMBERS = 300, 6
CATEGORIES = ("cheese", "milk", "tea")


def unit(rows: NDArray[np.float64]) -> Floats:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def made(noise: float, seed: int = 3) -> tuple[Floats, Floats]:
    """Texts [n, 6] that images [n, 4] are turned into by one fixed matrix, and noise."""
    draw = np.random.default_rng(seed)
    images = unit(draw.normal(size=(ITEMS, 4)))
    turned = images @ draw.normal(size=(4, 6)) + noise * draw.normal(size=(ITEMS, 6))
    return unit(turned), images


def test_images_that_say_what_texts_say_are_projected_onto_them() -> None:
    texts, images = made(noise=0.0)

    found = fit_projection(texts, images)

    assert found.projection.shape == (6, 4)
    assert found.figures["items"] == ITEMS
    assert found.figures["left_out_cosine"] > 0.9


def test_images_that_say_nothing_are_found_out() -> None:
    texts, images = made(noise=50.0)

    assert abs(fit_projection(texts, images).figures["left_out_cosine"]) < 0.15


def test_a_projection_is_what_half_precision_holds_and_repeats() -> None:
    texts, images = made(noise=0.5)

    one, other = fit_projection(texts, images).projection, fit_projection(texts, images).projection

    assert one.dtype == np.float32
    assert np.array_equal(one, one.astype(np.float16).astype(np.float32))
    assert np.array_equal(one, other)


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_items_with_images_are_an_error(count: int) -> None:
    texts, images = made(noise=0.0)

    with pytest.raises(TrainerError, match=f"{count} items of the samples have an image in the catalogue"):
        fit_projection(texts[:count], images[:count])


def image_catalogue(path: Path) -> ImageCatalogue:
    """Of the red and the blue product of each category, and of one that nobody buys."""
    ids = [f"{category}-{colour}" for category in (*CATEGORIES, "boat") for colour in ("red", "blue")]
    np.savez(path, image_ids=ids, vectors=np.random.default_rng(5).normal(size=(len(ids), IMAGE_NUMBERS)))
    return read_images(path)


def with_images(body: dict[str, Any], number: int) -> dict[str, Any]:
    """Red, blue, an image that the catalogue lacks, or none: by turns."""
    colour = ("red", "blue", "green", None)[number % 4]
    items = body["items"]
    named = [{**item, "image_id": f"{item['item_id']}-{colour}"} for item in items] if colour else items
    return {**body, "items": named}


def write_shop(directory: Path) -> Path:
    """Nine users who buy one category a week, in turn."""
    bodies = [
        with_images(
            purchase(f"u{user}", 7 * week + 0.1 * user + 0.05, CATEGORIES[(week + user) % 3]), week + user
        )
        for week in range(19)
        for user in range(9)
    ]
    return write_archive(directory, sorted(bodies, key=lambda body: body["occurred_at_ms"]))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Samples, ImageCatalogue]:
    directory = tmp_path_factory.mktemp("shop")
    archive, catalogue = write_shop(directory / "events"), image_catalogue(directory / "images.npz")
    samples = write_samples(plan_samples(archive), directory / "samples", images=catalogue)
    return archive, samples, catalogue


def encoded(texts: list[str]) -> Floats:
    return asyncio.run(FakeModel(labels=3, dimensions=DIMENSIONS).encode(texts))


def some_fusion() -> Fusion:
    drawn = np.random.default_rng(1).normal(size=(DIMENSIONS, IMAGE_NUMBERS)) / 20
    return Fusion(drawn.astype(np.float32), 0.5)


def test_one_text_has_a_row_for_each_image_and_samples_keep_the_images_they_name(
    shop: tuple[Path, Samples, ImageCatalogue],
) -> None:
    _, samples, catalogue = shop
    kept = samples.images()

    assert kept is not None
    assert len(set(samples.texts)) == 3
    assert len(samples.texts) == len(set(zip(samples.texts, samples.image_ids, strict=True))) == 12
    assert image_counts(samples) == {"named": 9, "known": 6}
    assert (len(kept), kept.get("boat-red"), kept.dimensions) == (6, None, IMAGE_NUMBERS)
    assert np.array_equal(kept.get("tea-red"), catalogue.get("tea-red"))  # type: ignore[arg-type]


def test_the_samples_of_a_shop_with_images_say_what_a_worker_says(
    shop: tuple[Path, Samples, ImageCatalogue],
) -> None:
    found = check_samples(shop[0], CheckSize(moments=4, users=9, bundle=7))

    assert found.comparisons == 36
    assert found.mismatches == []


def test_pooled_windows_are_those_of_a_worker_to_the_last_bit(
    shop: tuple[Path, Samples, ImageCatalogue],
) -> None:
    archive, samples, catalogue = shop
    fusion, day = some_fusion(), samples.calendar.validation
    now_ms = seconds(day) * 1000
    texts = fused_texts(encoded(samples.texts), samples, fusion)
    worker = BundleFold(samples.labels, 7)
    for record in stored_records(archive):
        if record.timestamp < now_ms:
            worker.receive(record)
    worker.settle()

    ours = pooled_windows(samples.snapshot(day), now_ms, texts)

    for user, pooled in zip(samples.households, ours, strict=True):
        theirs = asyncio.run(served_window(worker, user, now_ms, ItemImages(catalogue, fusion)))
        assert np.array_equal(pooled, theirs)
    plain = pooled_windows(samples.snapshot(day), now_ms, encoded(samples.texts))
    assert np.abs(ours - plain).max() > 0.01


async def served_window(worker: BundleFold, user: str, now_ms: int, images: ItemImages) -> Floats:
    """A user's window as SCORE pools it."""
    model = FakeModel(labels=3, dimensions=DIMENSIONS)
    encoder = ItemEncoder(model, "toy-1", VectorCache(100), images)
    snapshot, appeared = worker.read(user, now_ms)
    vectors = await encoder.vectors({text_hash(one): one for one in appeared})
    window = BehaviourWindow()
    window.occurred = array("q", snapshot.window_occurred[0, : len(appeared)].tolist())
    window.kinds = array("B", snapshot.window_kinds[0, : len(appeared)].tolist())
    return window_vectors(window, [vectors[text_hash(one)] for one in appeared], DIMENSIONS, now_ms)


def test_a_run_fits_its_projection_on_items_with_images_and_keeps_it(
    shop: tuple[Path, Samples, ImageCatalogue], tmp_path: Path
) -> None:
    samples = shop[1]
    texts = encoded(samples.texts)

    figures = fit_fusion(samples, texts, 0.75, tmp_path)

    fusion = kept_fusion(tmp_path)
    assert fusion is not None
    assert (figures["items"], figures["dimensions"], figures["weight"]) == (6, IMAGE_NUMBERS, 0.75)
    assert (fusion.projection.shape, fusion.weight) == ((DIMENSIONS, IMAGE_NUMBERS), 0.75)
    both = fused_texts(texts, samples, fusion)
    for row, image_id in enumerate(samples.image_ids):
        image = shop[2].get(image_id)
        expected = texts[row] if image is None else fused(texts[row], image, fusion)
        assert np.array_equal(both[row], expected)


def test_without_weight_or_images_a_run_forgets_the_projection_of_an_earlier_one(
    shop: tuple[Path, Samples, ImageCatalogue], tmp_path: Path
) -> None:
    samples = shop[1]
    texts = encoded(samples.texts)
    keep_fusion(tmp_path, some_fusion())

    assert fit_fusion(samples, texts, 0.0, tmp_path) == {}

    assert kept_fusion(tmp_path) is None
    assert fused_texts(texts, samples, kept_fusion(tmp_path)) is texts
    with pytest.raises(TrainerError, match=r"encoder\.image_weight is -1: set it to 0"):
        fit_fusion(samples, texts, -1.0, tmp_path)


def test_samples_made_again_without_a_catalogue_have_no_images(tmp_path: Path) -> None:
    archive, catalogue = write_shop(tmp_path / "events"), image_catalogue(tmp_path / "images.npz")
    write_samples(plan_samples(archive), tmp_path / "samples", images=catalogue)

    samples = write_samples(plan_samples(archive), tmp_path / "samples")

    assert samples.images() is None
    assert fit_fusion(samples, encoded(samples.texts), 0.5, tmp_path) == {}
    with pytest.raises(TrainerError, match="takes images of 6 numbers, and the samples have none"):
        fused_texts(encoded(samples.texts), samples, some_fusion())


def test_a_version_for_images_of_another_size_is_refused(
    shop: tuple[Path, Samples, ImageCatalogue],
) -> None:
    texts = encoded(shop[1].texts)

    with pytest.raises(TrainerError, match="takes images of 5 numbers, and the samples have images of 6"):
        fused_texts(texts, shop[1], Fusion(np.ones((DIMENSIONS, 5), dtype=np.float32), 0.5))


def test_a_catalogue_of_other_images_is_refused(tmp_path: Path) -> None:
    archive = write_shop(tmp_path / "events")
    np.savez(tmp_path / "images.npz", image_ids=["boat"], vectors=np.ones((1, 3)))
    images = read_images(tmp_path / "images.npz")

    with pytest.raises(TrainerError, match=r"events name \(such as 'cheese-blue'\) is among the 1"):
        write_samples(plan_samples(archive), tmp_path / "samples", images=images)
    plain = write_archive(
        tmp_path / "plain", [purchase(f"u{n % 9}", n, CATEGORIES[n % 3]) for n in range(130)]
    )
    with pytest.raises(TrainerError, match=r"events name \(none at all\)"):
        write_samples(plan_samples(plain), tmp_path / "samples", images=images)
