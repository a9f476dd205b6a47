"""What the Faust app tells the worker."""

import asyncio
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faust.tables.recovery import RebalanceAgain
from mode import Service

from stream.app import AppHooks, StreamApp, build_app
from stream.setting_sections import StoreSettings
from stream.settings import Settings
from stream.stores.memory import MemoryStore


async def test_a_part_of_the_app_that_crashes_is_told_as_a_failure(tmp_path: Path) -> None:
    failures: list[BaseException] = []
    nothing: Any = None
    hooks = AppHooks(**{**dict.fromkeys(AppHooks._fields, nothing), "failed": failures.append})
    settings = Settings(store=StoreSettings(directory=tmp_path))
    app = build_app(settings, hooks, MemoryStore(), MemoryStore())
    part = Service(beacon=app.beacon)
    error = OSError("the fetcher died")

    await part.crash(error)

    assert error in failures


class Told:
    """What a worker hears of rebalances."""

    def __init__(self, directory: Path) -> None:
        self.heard: list[Any] = []
        nothing: Any = None
        hooks = AppHooks(
            **{
                **dict.fromkeys(AppHooks._fields, nothing),
                "rebalance_started": lambda: self.heard.append("started"),
                "rebalance_ended": self.heard.append,
            }
        )
        settings = Settings(store=StoreSettings(directory=directory))
        self.app: StreamApp = build_app(settings, hooks, MemoryStore(), MemoryStore())
        consumer: Any = SimpleNamespace(rebalance_ended=lambda: None, assignment=set)
        self.app.consumer = consumer


async def test_a_rebalance_ends_only_once_the_partitions_of_the_last_one_are_given(tmp_path: Path) -> None:
    told = Told(tmp_path)
    app = told.app
    app.on_rebalance_start()
    app.rebalances.given()
    app.on_rebalance_start()  # the next one, while the tables of the first are recovered

    app.on_rebalance_end()  # of the first
    during = app.rebalancing
    app.rebalances.given()
    app.on_rebalance_end()

    assert during
    assert not app.rebalancing
    assert told.heard == ["started", "started", set()]


async def test_recovery_stops_where_it_stands_once_partitions_move(tmp_path: Path) -> None:
    app = Told(tmp_path).app
    tables: Any = app.tables
    recovery = tables.recovery
    app.on_rebalance_start()
    app.rebalances.given()

    await recovery._wait(asyncio.sleep(0))
    app.on_rebalance_start()
    with pytest.raises(RebalanceAgain):
        await recovery._wait(asyncio.sleep(0))
    app.rebalances.given()
    recovery.signal_recovery_start.set()  # of the next assignment, as it is given
    with pytest.raises(RebalanceAgain):
        await recovery._wait(asyncio.sleep(0))
