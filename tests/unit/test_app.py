"""What the Faust app tells the worker."""

from pathlib import Path
from typing import Any

from mode import Service

from stream.app import AppHooks, build_app
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
