"""Fitted rivals kept on disk by what they were fitted from, so that a second evaluation only scores."""

import json
import os
from collections.abc import Mapping
from functools import cached_property
from hashlib import sha256
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from trainer.samples import Samples

#: Whose code decides what a rival is fitted to; another one makes every rival anew.
_CODE: Final = (
    "stream.features",
    "stream.window",
    "trainer.baselines",
    "trainer.calendar",
    "trainer.dates",
    "trainer.derived",
    "trainer.head_inputs",
    "trainer.rows",
    "trainer.samples",
    "trainer.sequence_models",
    "trainer.tables",
)
_PACKAGES: Final = ("torch", "lightgbm", "numpy")


class RivalCache:
    """Fitted rivals of one samples directory.

    Args:
        directory: Made when something is kept.
        samples: What rivals are fitted to.
    """

    def __init__(self, directory: Path, samples: Samples) -> None:
        self._directory = directory
        self._samples = samples

    def find(self, name: str, settings: Mapping[str, Any]) -> bytes | None:
        """A rival fitted to the same samples with the same settings, code and libraries; None if there is none."""
        path = self._path(name, settings)
        return path.read_bytes() if path.exists() else None

    def keep(self, name: str, settings: Mapping[str, Any], fitted: bytes) -> None:
        """Keep a rival, whole or not at all, in place of others of its name."""
        path = self._path(name, settings)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.write_bytes(fitted)
        for other in path.parent.glob(f"{name}-*"):
            other.unlink()
        draft.replace(path)

    def _path(self, name: str, settings: Mapping[str, Any]) -> Path:
        told = json.dumps({"settings": settings, **self._inputs}, sort_keys=True, default=str)
        return self._directory / f"{name}-{sha256(told.encode()).hexdigest()[:24]}"

    @cached_property
    def _inputs(self) -> dict[str, Any]:
        """Hashes of the samples' bytes and the code, households that may be learnt from, versions of the libraries."""
        samples = sha256()
        for path in sorted(self._samples.directory.iterdir()):
            samples.update(path.name.encode())
            samples.update(path.read_bytes())
        code = sha256()
        for name in _CODE:
            source = import_module(name).__file__
            assert source is not None
            code.update(Path(source).read_bytes())
        return {
            "samples": samples.hexdigest(),
            "fitted": sha256(self._samples.fitted.tobytes()).hexdigest(),
            "code": code.hexdigest(),
            "versions": {name: version(name) for name in _PACKAGES},
        }
