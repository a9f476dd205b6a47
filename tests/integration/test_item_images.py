"""A worker with an image catalogue: users of one product name and different images get different interests."""

import asyncio
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from stream.embedded.broker import TansuBroker
from stream.embedded.triton_server import BundledTriton
from stream.events import UPDATES_TOPIC
from stream.model.repository import ENCODER, HEAD, load_bundle, newest_version
from stream.partitioner import partitioner
from tests.behaviour_feed import PARTITIONS, START_MS, Fed, produce
from tests.brokers import Broker, recreate_topics
from tests.toy_repository import add_projection
from tests.worker_process import REPOSITORY, WorkerProcess, latest_by_key, loads, read_topic, total

_IMAGE_NUMBERS = 8
#: By user: the image of what they looked at.
_IMAGES = {
    "front": "front",
    "front-too": "front",
    "back": "back",
    "unknown": "nobody made a vector of it",
    "none": None,
}


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The shipped model, made to take images: the first two of them lie to where two interests are."""
    repository = tmp_path / "models"
    shutil.copytree(REPOSITORY / "triton_models", repository)
    bundle = load_bundle(repository)
    projection = np.zeros((bundle.dimensions, _IMAGE_NUMBERS), dtype=np.float32)
    projection[:, :2] = bundle.interest_vectors[:2].T
    add_projection(newest_version(repository / HEAD), projection, weight=1.0)
    return repository


@pytest.fixture
def triton(models: Path, stub_python: Path) -> Iterator[BundledTriton]:
    with BundledTriton(models, stub_python, models=[ENCODER, HEAD]) as server:
        yield server


def _catalogue(path: Path, numbers: int = _IMAGE_NUMBERS) -> Path:
    np.savez(path, image_ids=["front", "back"], vectors=np.eye(2, numbers, dtype=np.float16))
    return path


def _worker(directory: Path, broker: Broker, grpc_url: str, models: Path, **settings: str) -> WorkerProcess:
    return WorkerProcess(
        directory,
        broker.bootstrap_servers,
        APP_ID="images",
        KAFKA__BROKER=broker.kind,
        MODEL__ENABLED="true",
        MODEL__REPOSITORY=str(models),
        MODEL__GRPC_URL=grpc_url,
        SCORE__MIN_INTERVAL_SECONDS="0.2",
        SCORE__RETRY_SECONDS="0.5",
        **settings,
    )


def _feed() -> list[Fed]:
    """Each user looks at the same product twice, in the same minutes."""
    home = partitioner("murmur2", PARTITIONS)
    fed = []
    for user, image_id in _IMAGES.items():
        for number in range(2):
            at_ms = START_MS + number * 60_000
            item = {"item_id": "i1", "item_name": "lovely thing", "item_category": "department"}
            body = {
                "event_id": f"{user}-{number}",
                "event_type": "view_item",
                "user_id": user,
                "occurred_at_ms": at_ms,
                "items": [item if image_id is None else {**item, "image_id": image_id}],
            }
            key = user.encode()
            fed.append(Fed("behaviour.browse", home(key), key, orjson.dumps(body), at_ms))
    return fed


def _interests(broker: Broker) -> dict[str, dict[str, float]]:
    """Scores by interest of each user's last update."""
    records = asyncio.run(read_topic(broker.bootstrap_servers, UPDATES_TOPIC, PARTITIONS))
    updates: dict[str, Any] = {key.decode(): loads(value) for key, value in latest_by_key(records).items()}
    assert {update["source"] for update in updates.values()} == {"model"}
    return {
        user: {interest["name"]: interest["score"] for interest in update["interests"]}
        for user, update in updates.items()
    }


def _scored(worker: WorkerProcess, broker: Broker) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    asyncio.run(recreate_topics(broker, "images"))
    fed = _feed()
    with worker:
        asyncio.run(produce(broker.bootstrap_servers, fed))
        samples = worker.until(
            lambda seen: total(seen, "events") >= len(fed) and seen["interestflow_due_users"] == 0
        )
        assert worker.end(signal.SIGTERM) == 0
    return samples, _interests(broker)


def test_one_name_with_two_images_is_two_things_and_without_a_catalogue_one(
    broker: Broker, triton: BundledTriton, models: Path, tmp_path: Path
) -> None:
    images = _catalogue(tmp_path / "images.npz")

    samples, found = _scored(
        _worker(tmp_path, broker, triton.grpc_url, models, MODEL__IMAGES=str(images)), broker
    )
    without, plain = _scored(_worker(tmp_path, broker, triton.grpc_url, models), broker)

    assert found.keys() == plain.keys() == _IMAGES.keys()
    assert found["front"] == found["front-too"]
    assert found["front"] != found["back"]
    assert found["unknown"] == found["none"]
    assert found["none"] not in (found["front"], found["back"])
    # Without a catalogue all of them saw the same, to the last digit what one without an image sees.
    assert all(one == found["none"] for one in plain.values())
    assert samples["interestflow_image_lookups_total|found"] > 0
    assert samples["interestflow_image_lookups_total|unknown"] > 0
    assert total(without, "image_lookups") == 0


def test_a_catalogue_of_another_size_ends_the_worker_with_a_name(
    tansu: TansuBroker, models: Path, tmp_path: Path
) -> None:
    broker = Broker("tansu", tansu.bootstrap_servers)
    asyncio.run(recreate_topics(broker, "images"))
    images = _catalogue(tmp_path / "images.npz", numbers=7)

    with _worker(tmp_path, broker, "127.0.0.1:1", models, MODEL__IMAGES=str(images)) as worker:
        code = worker.wait()

    assert code == 2
    assert "has vectors of 7 numbers" in worker.log
    assert f"takes {_IMAGE_NUMBERS}" in worker.log
