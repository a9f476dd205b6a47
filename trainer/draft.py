"""A model version in the making beside the repository, moved in by renames, so that no reader ever sees half of one.

A process that is killed at any moment leaves the repository as it was or with the whole new version; what it leaves
beside it is removed by the next publication.
"""

import fcntl
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from trainer.errors import ExportError


class Draft:
    """All models of one version below a directory of their own, laid out as in the repository."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository.absolute()
        # Beside the repository: Triton takes every directory in it for a model.
        self.root = self._repository.parent / f".{repository.name}-draft"
        self._retired = self._repository.parent / f".{repository.name}-retired"

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold the repository against other publications; begin and end without leftovers.

        Raises:
            ExportError: If another process publishes there.
        """
        self._repository.parent.mkdir(parents=True, exist_ok=True)
        parent = os.open(self._repository.parent, os.O_RDONLY)
        try:
            self._lock(parent)
            self._sweep()
            self.root.mkdir()
            try:
                yield
            finally:
                self._sweep()
        finally:
            os.close(parent)

    def version(self, model: str, number: int) -> Path:
        """The directory of a model's version files, made if it is not there."""
        path = self.root / model / str(number)
        path.mkdir(parents=True, exist_ok=True)
        return path

    def write_configs(self, model: str, configs: Mapping[str, str]) -> None:
        """Write a model's files outside its versions, by their path below the model."""
        for name, text in configs.items():
            path = self.root / model / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def sizes(self) -> dict[str, int]:
        """Bytes by file."""
        return {
            str(path.relative_to(self.root)): path.stat().st_size
            for path in sorted(self.root.rglob("*"))
            if path.is_file()
        }

    def put_in_place(self, models: tuple[str, ...], number: int) -> None:
        """Move the version in, the last of the models last: readers begin at it."""
        for path in sorted(self.root.rglob("*")):
            _sync(path)
        _sync(self.root)
        if not self._repository.exists():
            self.root.rename(self._repository)
        for model in models:
            self._put_model(model, number)
        _sync(self._repository.parent)

    def remove(self, model: str, number: int) -> None:
        """Take a version out by one rename, then delete it."""
        self._retired.mkdir(exist_ok=True)
        retired = self._retired / f"{model}-{number}"
        (self._repository / model / str(number)).rename(retired)
        shutil.rmtree(retired)

    def _put_model(self, model: str, number: int) -> None:
        source, target = self.root / model, self._repository / model
        if not source.exists():
            return  # moved with the whole repository
        target.mkdir(exist_ok=True)
        for path in sorted(source.rglob("*.pbtxt")):
            place = target / path.relative_to(source)
            place.parent.mkdir(exist_ok=True)
            path.replace(place)
        (source / str(number)).rename(target / str(number))
        _sync(target)

    def _lock(self, parent: int) -> None:
        try:
            fcntl.flock(parent, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportError(
                f"another process publishes into {self._repository.parent}; wait until it is done and publish again"
            ) from error

    def _sweep(self) -> None:
        for path in (self.root, self._retired):
            if path.exists():
                shutil.rmtree(path)


def _sync(path: Path) -> None:
    """Have a file's bytes, or a directory's names, on the disk."""
    opened = os.open(path, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
