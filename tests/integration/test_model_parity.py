"""The shipped model version on the bundled Triton: what it says is what the trainer measured.

``interest_vectors.npy`` was written from PyTorch's encoder, so encoding the names again holds tokeniser, ONNX file,
engine and server against it at once.
"""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from stream.embedded.triton_server import BundledTriton, TritonOptions
from stream.features import NEVER_DAYS
from stream.model.repository import ModelBundle, load_bundle
from stream.model.tokens import Tokeniser
from trainer.contract import ENCODER, ENCODER_INPUTS, HEAD, HEAD_INPUTS
from trainer.served import ServedModels

REPOSITORY = Path(__file__).parents[2] / "triton_models"
Arrays = dict[str, NDArray[Any]]

pytestmark = pytest.mark.embedded


@pytest.fixture(scope="module")
def bundle() -> ModelBundle:
    return load_bundle(REPOSITORY)


@pytest.fixture(scope="module", params=["fp32"])
def models(
    request: pytest.FixtureRequest, stub_python: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServedModels]:
    options = TritonOptions(
        cache_directory=tmp_path_factory.mktemp("triton"),
        environment={"INTERESTFLOW_ENGINE": request.param, "OMP_NUM_THREADS": "1"},
    )
    with BundledTriton(REPOSITORY, stub_python, models=[ENCODER, HEAD], options=options) as triton:
        served = ServedModels(triton.grpc_url)
        yield served
        served.close()


def tokens(bundle: ModelBundle, texts: list[str]) -> Arrays:
    batch = Tokeniser(bundle.tokenizer_path, bundle.max_tokens, bundle.buckets).batch(texts)
    return dict(zip(ENCODER_INPUTS, batch, strict=True))


def encoded(models: ServedModels, bundle: ModelBundle, texts: list[str]) -> NDArray[Any]:
    pieces = [texts[start : start + 16] for start in range(0, len(texts), 16)]
    return np.concatenate([models.run(ENCODER, tokens(bundle, piece))["VECTOR"] for piece in pieces])


def nobody(labels: int, count: int = 1) -> Arrays:
    """Users of whom nothing is known."""
    history = np.zeros((count, labels, 10), dtype=np.float32)
    history[:, :, 7:9] = NEVER_DAYS
    history[:, :, 9] = 50.0
    user = np.zeros((count, 11), dtype=np.float32)
    user[:, 6] = NEVER_DAYS
    return dict(zip(HEAD_INPUTS, (history, user, np.zeros((count, 2, 384), dtype=np.float32)), strict=True))


def shoppers(labels: int, count: int) -> Arrays:
    """Users of all sorts."""
    draw = np.random.default_rng(5)
    users = nobody(labels, count)
    users["HISTORY"][:, :40] = draw.gamma(0.5, 4.0, (count, 40, 10))
    users["USER"][:] = draw.gamma(1.0, 9.0, (count, 11))
    window = draw.normal(size=(count, 2, 384))
    users["WINDOW"][:] = window / np.linalg.norm(window, axis=2, keepdims=True)
    return users


def test_the_names_of_the_interests_have_the_vectors_that_pytorch_gave_them(
    models: ServedModels, bundle: ModelBundle
) -> None:
    names = [interest.name for interest in bundle.interests]

    found = encoded(models, bundle, names)

    # float16, in which they are stored, is off by up to 2.5e-4 at the largest components.
    np.testing.assert_allclose(found, bundle.interest_vectors, atol=5e-4)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0, rtol=1e-5)


def test_a_text_has_one_vector_whoever_shares_its_batch(models: ServedModels, bundle: ModelBundle) -> None:
    texts = [f"ice cream {number}, frozen food" for number in range(16)]

    together = encoded(models, bundle, texts)
    alone = np.concatenate([encoded(models, bundle, [text]) for text in texts])

    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_requests_of_different_lengths_at_once_each_get_their_own_answer(
    models: ServedModels, bundle: ModelBundle
) -> None:
    texts = ["milk", "a long story about " + "milk and bread and " * 6, "bread " * 200] * 4
    alone = [encoded(models, bundle, [text]) for text in texts]

    with ThreadPoolExecutor(len(texts)) as pool:
        at_once = list(pool.map(lambda text: encoded(models, bundle, [text]), texts))

    np.testing.assert_allclose(np.concatenate(at_once), np.concatenate(alone), atol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "told"),
    [
        pytest.param((1, 65, 5), "a row has 65 tokens, the longest bucket is 64", id="too long"),
        pytest.param((1, 16, 30522), "INPUT_IDS has values outside 0 to 30521", id="unknown token"),
    ],
)
def test_a_bad_request_is_refused_with_its_reason_and_the_next_is_served(
    models: ServedModels, bundle: ModelBundle, inputs: tuple[int, int, int], told: str
) -> None:
    rows, length, token = inputs
    ids = np.full((rows, length), token, dtype=np.int32)

    with pytest.raises(InferenceServerException, match=told):
        models.run(ENCODER, dict(zip(ENCODER_INPUTS, (ids, np.ones_like(ids)), strict=True)))

    assert np.isfinite(encoded(models, bundle, ["milk"])).all()


def test_a_full_batch_of_users_is_scored_as_each_user_alone(
    models: ServedModels, bundle: ModelBundle
) -> None:
    users = shoppers(bundle.labels, 64)

    together = models.run(HEAD, users)
    apart = [
        models.run(HEAD, {name: array[row : row + 1] for name, array in users.items()}) for row in (0, 17, 63)
    ]

    for row, single in zip((0, 17, 63), apart, strict=True):
        for name, array in single.items():
            np.testing.assert_allclose(together[name][row], array[0], atol=1e-5)


def test_an_unknown_user_gets_probabilities_and_a_unit_vector(
    models: ServedModels, bundle: ModelBundle
) -> None:
    found = models.run(HEAD, nobody(bundle.labels))

    assert ((found["SCORES"] > 0) & (found["SCORES"] < 1)).all()
    assert found["INTENT"].shape == (1, 3)
    assert np.linalg.norm(found["USER_VECTOR"]) == pytest.approx(1.0, abs=1e-5)


def test_what_is_bought_every_week_comes_before_what_was_never_bought(
    models: ServedModels, bundle: ModelBundle
) -> None:
    users = nobody(bundle.labels)
    row = next(place for place, interest in enumerate(bundle.interests) if interest.id == "cat-food")
    weekly = [1 / (1 - 2 ** (-7 / half_life)) for half_life in (7, 14, 28, 56, 112, 224)]
    users["HISTORY"][0, row] = [*weekly, 40.0, 2.0, 7.0, 2 / 7]
    users["USER"][0] = [*weekly, 2.0, 280.0, 1.0, weekly[3], 8.0]

    scores = models.run(HEAD, users)["SCORES"][0]

    assert scores.argmax() == row
    assert scores[row] > 0.5


def test_a_click_lifts_an_interest_and_a_purchase_lifts_it_more(
    models: ServedModels, bundle: ModelBundle
) -> None:
    users = shoppers(bundle.labels, 3)
    row = next(place for place, interest in enumerate(bundle.interests) if interest.id == "cat-food")
    users["HISTORY"][:] = users["HISTORY"][:1]  # three times the same user, who never bought cat food
    users["USER"][:], users["WINDOW"][:] = users["USER"][:1], users["WINDOW"][:1]
    users["HISTORY"][:, row] = nobody(1)["HISTORY"][0]
    users["HISTORY"][1, row, :6] = 0.25
    users["HISTORY"][2, row] = [*[1.0] * 6, 1.0, 0.0, NEVER_DAYS, 50.0]

    nothing, click, purchase = models.run(HEAD, users)["SCORES"][:, row]

    assert nothing < click < purchase


@pytest.mark.trainer
def test_triton_says_what_onnx_runtime_says(models: ServedModels, bundle: ModelBundle) -> None:
    pytest.importorskip("torch", reason="needs the trainer extra (torch, onnxruntime)")
    from trainer.parity import compare, onnx_encoder, onnx_head, require_parity  # noqa: PLC0415 - needs it

    texts, users = tokens(bundle, ["milk", "cat food, pets"]), shoppers(bundle.labels, 16)
    encoder = onnx_encoder(REPOSITORY / ENCODER / bundle.encoder.version / "model.onnx")
    head = onnx_head(REPOSITORY / HEAD / bundle.head.version / "model.onnx")

    require_parity(compare(encoder.run(texts), models.run(ENCODER, texts)), "ONNX and Triton encoder")
    require_parity(compare(head.run(users), models.run(HEAD, users)), "ONNX and Triton head")


@pytest.mark.parametrize("models", ["auto"], indirect=True)
def test_the_default_engine_stays_close_to_what_was_measured(
    models: ServedModels, bundle: ModelBundle
) -> None:
    names = [interest.name for interest in bundle.interests[:64]]

    cosines = (encoded(models, bundle, names) * bundle.interest_vectors[:64]).sum(axis=1)

    # bf16 where the CPU has it; two names of one meaning are about 0.8 alike.
    assert cosines.min() > 0.999


@pytest.mark.trainer
def test_the_shipped_version_is_held_against_onnx_runtime_by_one_command(
    stub_python: Path, tmp_path: Path
) -> None:
    pytest.importorskip("torch", reason="needs the trainer extra (torch, onnxruntime)")
    from typer.testing import CliRunner  # noqa: PLC0415 - only here

    from trainer.cli import app  # noqa: PLC0415 - needs it

    figures = tmp_path / "parity.json"

    told = CliRunner().invoke(
        app,
        [
            "parity",
            "--repository",
            str(REPOSITORY),
            "--stub-python",
            str(stub_python),
            "--json",
            str(figures),
        ],
    )

    assert told.exit_code == 0, told.output
    found = json.loads(figures.read_text())
    assert found["version"] == load_bundle(REPOSITORY).head.version
    assert found["onnx_triton"][HEAD]["top10_agreement"] == 1.0
    assert found["onnx_triton"][ENCODER]["vectors"] <= found["tolerance"]["vectors"]
    assert "| onnx_triton | interest_head |" in told.output
