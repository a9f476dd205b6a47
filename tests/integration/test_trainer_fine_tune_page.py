"""docs/fine-tune.md, every command of it word for word, on a small made shop whose categories no other shop has."""

import asyncio
import csv
import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="needs the trainer extra (torch)")

import torch
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from stream.archive.description import read_description
from stream.clock import SystemClock
from stream.embedded.broker import TansuBroker
from stream.embedded.triton_server import BundledTriton
from stream.model.repository import load_bundle
from tests.shop_files import order_rows
from tests.worker_process import WorkerProcess
from trainer.cli import main

pytestmark = pytest.mark.trainer

PAGE = (Path(__file__).parents[2] / "docs" / "fine-tune.md").read_text(encoding="utf-8")
#: In many scripts, in none, and two that differ in punctuation alone.
CATEGORIES = (
    "tea",
    "cheese",
    "soft drinks",
    "soft-drinks",
    "Käse",
    "сыр",
    "緑茶",
    "हिन्दी चाय",
    "τυρί",
    "★",
    "bread",
    "شاي",
)


def commands(heading: str) -> list[str]:
    """The indented lines under a heading, without comments."""
    section = re.split(r"^## ", PAGE, flags=re.MULTILINE)
    text = next(part for part in section if part.startswith(heading))
    return [line.partition("  #")[0].strip() for line in re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)]


def block(kind: str) -> str:
    """The fenced block of a kind."""
    found = re.search(rf"^```{kind}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
    assert found is not None
    return found.group(1)


def write_orders(path: Path) -> None:
    """The made shop in the form that the page shows, a view per third line, and three bad rows."""
    header = block("csv").splitlines()[0].split(";")
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file, delimiter=";")
        rows.writerow(header)
        for number, (order, user, at, sku, title, department, category, price, pieces) in enumerate(
            order_rows(users=150, weeks=19, categories=len(CATEGORIES))
        ):
            name = CATEGORIES[int(category.split()[1])]
            item = [sku, f"{title.partition(' of ')[0]} {name}", department, name, price.replace(".", ",")]
            rows.writerow(["bought", order, user, at, *item, pieces])
            if number % 3 == 0:
                rows.writerow(["viewed", "", user, at, *item, ""])
        rows.writerow(["bought", "b1", "", "2025-03-01 10:00:00", "s", "tea", "d", "tea", "1,00", "1"])
        rows.writerow(["bought", "b2", "user-1", "1 March", "s", "tea", "d", "tea", "1,00", "1"])
        rows.writerow(["bought", "b3", "user-1", "2025-03-01 10:00:00", "s", "tea", "d", "tea", "free", "1"])


def run(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command of the trainer, in this process."""
    program, *arguments = shlex.split(command)
    assert program == "interestflow-trainer"
    monkeypatch.setattr(sys, "argv", [program, *arguments])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code in {0, None}, command


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory, stub_python: Path) -> Iterator[Path]:
    """A directory with what the page asks for, after the ten commands."""
    directory = tmp_path_factory.mktemp("shop")
    write_orders(directory / "orders.csv")
    (directory / "shop.toml").write_text(block("toml"), encoding="utf-8")
    (directory / ".venv-triton").symlink_to(stub_python.parents[1])
    deterministic = torch.are_deterministic_algorithms_enabled()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        for command in commands("2. A trial run"):
            run(command, patch)
    yield directory
    torch.use_deterministic_algorithms(deterministic)


@pytest.mark.timeout(600)
def test_the_ten_commands_publish_a_version_of_the_shops_own_interests(shop: Path) -> None:
    bundle = load_bundle(shop / "data" / "trial")
    archive = read_description(shop / "data" / "shop")

    assert len(commands("2. A trial run")) == 10
    assert [interest.name for interest in bundle.interests] == sorted(name.lower() for name in CATEGORIES)
    assert len({interest.id for interest in bundle.interests}) == len(CATEGORIES)
    assert archive.rejects == {"missing": 1, "ts_parse": 1, "type": 1}


def test_the_real_run_is_the_trial_without_quick() -> None:
    trial = [
        command.replace(" --quick", "").replace("data/trial", "data/models")
        for command in commands("2. A trial run")
    ]
    real = [command for command in commands("3. For good") if "--cutoff validation" not in command]

    assert real == trial[5:9]


@pytest.mark.embedded
@pytest.mark.timeout(600)
def test_a_worker_scores_the_shops_own_interests(
    shop: Path, tmp_path: Path, tansu: TansuBroker, stub_python: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(shop)
    *first, last = commands("5. Serve it")
    with BundledTriton(
        shop / "data" / "trial", stub_python, models=["behaviour_encoder", "interest_head"]
    ) as triton:
        settings = {
            "APP_ID": "fine-tune",
            "VIRTUAL_TIME": "false",
            "KAFKA__BROKER": "tansu",
            "MODEL__ENABLED": "true",
            "MODEL__GRPC_URL": triton.grpc_url,
        }
        worker = WorkerProcess(tmp_path, tansu.bootstrap_servers, **settings)
        for command in first:
            if command.startswith("export "):
                name, _, value = command.removeprefix("export ").partition("=")
                worker.environment[name] = str(shop / value)
            else:
                interestflow(command, worker.environment)
        assert last == "interestflow worker"
        with worker:
            asyncio.run(buy(tansu.bootstrap_servers, "сыр"))
            worker.until(lambda samples: samples.get("interestflow_interest_updates_total|model", 0) >= 1)
            update = asyncio.run(first_update(tansu.bootstrap_servers))

    names = {interest["name"] for interest in update["interests"]}
    assert names
    assert names <= {name.lower() for name in CATEGORIES}


def interestflow(command: str, environment: dict[str, str]) -> None:
    """A command of the service, in a process of its own."""
    program, *arguments = shlex.split(command)
    assert program == "interestflow"
    done = subprocess.run(
        [sys.executable, "-m", "stream.cli", *arguments],
        env=environment,
        check=False,
        timeout=120,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"


async def buy(bootstrap_servers: str, category: str) -> None:
    """One purchase, now."""
    item = {"item_id": "1", "item_name": category, "item_category": "food", "item_category2": category}
    event = {
        "event_id": "o1",
        "event_type": "purchase",
        "user_id": "u-1",
        "occurred_at_ms": SystemClock().wall_ms(),
        "items": [item],
    }
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers) as producer:
        await producer.send_and_wait("behaviour.purchase", json.dumps(event).encode(), key=b"u-1")


async def first_update(bootstrap_servers: str) -> dict[str, Any]:
    """The first interest update of all."""
    async with AIOKafkaConsumer(
        "interest.updates", bootstrap_servers=bootstrap_servers, auto_offset_reset="earliest"
    ) as consumer:
        record = await consumer.getone()
    update: dict[str, Any] = json.loads(record.value or b"{}")
    return update
