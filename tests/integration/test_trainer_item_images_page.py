"""docs/item-images.md: its catalogue is written and its commands run word for word, on a small made shop."""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

import torch

from stream.decode import decode_event
from stream.model.images import read_images
from stream.model.repository import load_bundle
from tests.shop_files import MAPPING, order_rows, write_shop
from trainer.cli import main

pytestmark = pytest.mark.trainer

PAGE = (Path(__file__).parents[2] / "docs" / "item-images.md").read_text(encoding="utf-8")
#: The trial of each command that has one.
QUICK = {"train", "evaluate", "publish"}


def commands() -> list[str]:
    return re.findall(r"^ {4}interestflow-trainer (.+)$", PAGE, re.MULTILINE)


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    arguments = shlex.split(command)
    quick = ["--quick"] if arguments[0] in QUICK else []
    monkeypatch.setattr(sys, "argv", ["interestflow-trainer", *arguments, *quick])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code in {0, None}, command


def test_the_pages_event_and_catalogue_are_what_they_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    event = re.search(r"^ {4}(\{.*?\]\})$", PAGE, re.DOTALL | re.MULTILINE)
    code = re.search(r"^```python\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert event is not None
    assert code is not None

    decoded = decode_event(json.dumps(json.loads(event.group(1))).encode(), 1_790_000_000_000)
    exec(code.group(1), {})

    images = read_images(Path("images.npz"))
    assert decoded.event.items[0].image_id == "4711-front"
    assert images.get("4711-front") is not None
    assert images.dimensions == 3


@pytest.mark.embedded
@pytest.mark.timeout(900)
def test_the_pages_commands_publish_a_version_that_takes_the_shops_images(
    tmp_path: Path, stub_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".venv-triton").symlink_to(stub_python.parents[1])
    mapping = MAPPING.replace('item_id = "sku"', 'item_id = "sku"\nimage_id = "sku"') + (
        "\n[interests]\nlevel = 2\nmin_buyers = 5\n"
    )
    rows = order_rows(users=40, weeks=19, categories=5)
    write_shop(tmp_path, rows, mapping)
    skus = sorted({row[3] for row in rows})[1:]
    np.savez(
        "images.npz",
        image_ids=skus,
        vectors=np.random.default_rng(3).normal(size=(len(skus), 16)).astype(np.float16),
    )
    deterministic = torch.are_deterministic_algorithms_enabled()

    for command in commands():
        run(command, monkeypatch)

    torch.use_deterministic_algorithms(deterministic)
    fusion = load_bundle(Path("data/models")).fusion
    told = json.loads(Path("data/run/train.json").read_text(encoding="utf-8"))["encoder"]["images"]
    assert fusion is not None
    assert (fusion.dimensions, fusion.weight) == (16, 0.5)
    assert (told["items"], told["dimensions"]) == (len(skus), 16)
