"""What the bundled Triton needs on disk, in its environment and in shared memory to start."""

import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from stream.embedded.stub_environment import StubEnvironment

REGION_DIRECTORY = Path("/dev/shm")  # noqa: S108 - where the backend itself puts its regions
REGION_PREFIX = "interestflow-"


def server_environment(environment: StubEnvironment, ours: Mapping[str, str]) -> dict[str, str | None]:
    """Changes to our environment that let the stub find its libpython and its packages."""
    bin_directory = environment.python.parent
    libraries = (environment.libpython_directory, environment.wheel_libraries)
    return {
        "PATH": os.pathsep.join((str(bin_directory), ours.get("PATH", os.defpath))),
        "VIRTUAL_ENV": str(bin_directory.parent),
        "LD_LIBRARY_PATH": os.pathsep.join(map(str, libraries)),
        # Ours would point at the worker's packages.
        "PYTHONPATH": None,
        "PYTHONHOME": None,
    }


def lay_out(environment: StubEnvironment, cache_directory: Path) -> tuple[Path, Path]:
    """Paths of a runnable server and of a backend directory with this Python's stub in its place.

    The installed wheel is never changed (an installer may share its files between environments by hard links):
    the backend, and the server if its mode got lost, are copied to the cache, once per wheel and Python version.
    """
    name = f"nvidia-pytriton-{environment.wheel_version}-py{environment.python_version}"
    ready = (cache_directory / name).absolute()
    if not ready.is_dir():
        # Made apart and renamed, so that no one ever starts from a half copy.
        partial = ready.with_name(f"{name}.{os.getpid()}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(environment.server_directory / "backends", partial / "backends")
        _copy_program(environment.stub_program, partial / "backends/python" / environment.stub_program.name)
        with suppress(OSError):  # another process was quicker; the check below sees it
            partial.rename(ready)
        shutil.rmtree(partial, ignore_errors=True)
    server = environment.server_directory / "bin/tritonserver"
    if not os.access(server, os.X_OK):
        server = _copy_program(server, ready / "tritonserver")
    return server, ready / "backends"


def _copy_program(source: Path, target: Path) -> Path:
    shutil.copyfile(source, target)
    target.chmod(0o755)
    return target


def remove_left_over_regions(directory: Path = REGION_DIRECTORY) -> None:
    """Remove the shared memory of servers whose owner, named by pid in the region's name, is gone."""
    for region in directory.glob(f"{REGION_PREFIX}*"):
        owner = region.name.removeprefix(REGION_PREFIX).split("-", 1)[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with suppress(OSError):  # another user's
                region.unlink()


def remove_regions(prefix: str, directory: Path = REGION_DIRECTORY) -> None:
    """Remove the shared memory whose names start so."""
    for region in directory.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)
