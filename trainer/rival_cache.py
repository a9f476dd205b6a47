"""Fitted rivals kept on disk by what they were fitted to, so that a second evaluation only scores."""

import json
import os
from collections.abc import Iterable, Mapping
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

_PACKAGES: Final = ("torch", "lightgbm", "numpy")


def fingerprint(settings: Mapping[str, Any], arrays: Iterable[NDArray[Any]]) -> str:
    """What a rival is fitted to, in short.

    Args:
        settings: How it is fitted; the versions of the libraries are added.
        arrays: All numbers that the fit sees; one after the other, so that not all need be in memory.
    """
    told = {**settings, "versions": {name: version(name) for name in _PACKAGES}}
    digest = sha256(json.dumps(told, sort_keys=True).encode())
    for array in arrays:
        digest.update(f"{array.dtype}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:24]


class RivalCache:
    """Fitted rivals, one of each name.

    Args:
        directory: Made when something is kept.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def find(self, name: str, key: str) -> bytes | None:
        """The rival of this name and fingerprint; None if there is none."""
        path = self._directory / f"{name}-{key}"
        return path.read_bytes() if path.exists() else None

    def keep(self, name: str, key: str, fitted: bytes) -> None:
        """Keep a rival, whole or not at all, in place of another one of its name."""
        self._directory.mkdir(parents=True, exist_ok=True)
        draft = self._directory / f".{name}.{os.getpid()}"
        draft.write_bytes(fitted)
        for other in self._directory.glob(f"{name}-*"):
            other.unlink()
        draft.replace(self._directory / f"{name}-{key}")
