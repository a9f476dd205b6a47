"""The environment in which Triton's python models run: an interpreter apart from the worker's.

Triton's python backend starts one stub process per model instance; it embeds libpython and takes its packages
from the `python3` that is first on PATH. The server itself comes from the nvidia-pytriton wheel installed there.
"""

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from stream.errors import EmbeddedServerError

# Run by the stub's interpreter. Nothing heavy is imported: versions come from metadata, paths from the finder.
_INSPECT = """
import importlib.metadata as m, importlib.util as u, json, sys, sysconfig as s
def version(name):
    try:
        return m.version(name)
    except m.PackageNotFoundError:
        return None
spec = u.find_spec("pytriton")
print(json.dumps({
    "python_version": "%d.%d" % sys.version_info[:2],
    "numpy": version("numpy"),
    "wheel": version("nvidia-pytriton"),
    "package": list(spec.submodule_search_locations)[0] if spec else None,
    "library": s.get_config_var("INSTSONAME"),
    "library_directories": [s.get_config_var("LIBDIR"), sys.base_prefix + "/lib", s.get_config_var("MULTIARCH")],
}))
"""
_INSPECT_TIMEOUT_SECONDS = 60.0

STUB_PYTHON_VARIABLE: Final = "INTERESTFLOW_TRITON_PYTHON"
# Where `make env` puts it.
_DEFAULT_STUB_PYTHON: Final = ".venv-triton/bin/python"


@dataclass(frozen=True, slots=True)
class StubEnvironment:
    """What Triton needs to know of it."""

    python: Path
    """The interpreter, as given: a virtual environment's link is not resolved, it is what finds its packages."""
    python_version: str
    """Such as "3.11"."""
    wheel_version: str
    """Of nvidia-pytriton."""
    server_directory: Path
    """`pytriton/tritonserver` in its site-packages."""
    wheel_libraries: Path
    """`nvidia_pytriton.libs` in its site-packages."""
    libpython_directory: Path
    """Where the libpython of `python_version` lies."""

    @property
    def stub_program(self) -> Path:
        """The stub built for this Python."""
        return (
            self.server_directory
            / "python_backend_stubs"
            / self.python_version
            / "triton_python_backend_stub"
        )


def stub_python(environment: Mapping[str, str]) -> Path:
    """The stub environment's interpreter that a process environment names, else the one that `make env` makes."""
    return Path(environment.get(STUB_PYTHON_VARIABLE) or _DEFAULT_STUB_PYTHON)


def inspect_stub_environment(python: Path) -> StubEnvironment:
    """The environment of that interpreter, asked of the interpreter itself.

    Raises:
        EmbeddedServerError: it doesn't run; nvidia-pytriton, its stub for this Python, numpy below 2 or libpython
            is missing.
    """
    # absolute(), not resolve(): following the link would leave the virtual environment.
    return stub_environment(python.absolute(), _ask(python.absolute()))


def stub_environment(python: Path, told: dict[str, object]) -> StubEnvironment:
    """The environment from what its interpreter told.

    Raises:
        EmbeddedServerError: as `inspect_stub_environment`.
    """
    version, wheel, package = str(told["python_version"]), told["wheel"], told["package"]
    if wheel is None or package is None:
        raise EmbeddedServerError(
            f"the wheel nvidia-pytriton, which holds the bundled Triton, is not installed in the stub environment "
            f"of {python}: `make env` makes one, or set {STUB_PYTHON_VARIABLE} to the interpreter of one of yours"
        )
    _require_old_numpy(python, told["numpy"])
    server = Path(str(package)) / "tritonserver"
    environment = StubEnvironment(
        python=python,
        python_version=version,
        wheel_version=str(wheel),
        server_directory=server,
        wheel_libraries=server.parent.parent / "nvidia_pytriton.libs",
        libpython_directory=_libpython_directory(python, version, told),
    )
    if not environment.stub_program.is_file():
        built = sorted(path.name for path in (server / "python_backend_stubs").glob("3.*"))
        raise EmbeddedServerError(
            f"nvidia-pytriton {wheel} has no stub for Python {version} of {python}, only for "
            f"{', '.join(built) or 'none'}: make the stub environment with Python 3.11"
        )
    return environment


def _ask(python: Path) -> dict[str, object]:
    try:
        answer = subprocess.run(
            [str(python), "-c", _INSPECT],
            capture_output=True,
            text=True,
            timeout=_INSPECT_TIMEOUT_SECONDS,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise EmbeddedServerError(
            f"the stub environment's interpreter {python} can't be run ({error}): make that environment first "
            f"(`make env` does), or set {STUB_PYTHON_VARIABLE} to the interpreter of one of yours"
        ) from error
    told: dict[str, object] = json.loads(answer.stdout)
    return told


def _require_old_numpy(python: Path, version: object) -> None:
    if version is None:
        found = "no numpy"
    elif int(str(version).split(".", 1)[0]) >= 2:
        # The bundled server (2.51) reads inputs as zeros and gives empty outputs with it, without an error.
        found = f"numpy {version}"
    else:
        return
    raise EmbeddedServerError(
        f"the stub environment of {python} has {found}, but the bundled Triton needs numpy below 2 there (with "
        f"numpy 2 every output comes back empty): {python} -m pip install 'numpy<2'; the worker's own environment "
        "may keep numpy 2"
    )


def _libpython_directory(python: Path, version: str, told: dict[str, object]) -> Path:
    # The stub is linked against this very name; a static build of the interpreter reports another one.
    library = f"libpython{version}.so.1.0"
    given = told["library_directories"]
    own, base, multiarch = given if isinstance(given, list) else (None, None, None)
    candidates = [
        own,
        base,
        f"/usr/lib/{multiarch}" if multiarch else None,
        "/usr/lib64",
        "/usr/lib",
        "/usr/local/lib",
    ]
    directories = [Path(str(directory)) for directory in candidates if directory]
    for directory in directories:
        if (directory / library).exists():
            return directory
    raise EmbeddedServerError(
        f"{library}, which Triton's python backend loads, is in none of {', '.join(map(str, directories))}: "
        f"on Debian and Ubuntu apt install libpython{version}; with pyenv "
        f"PYTHON_CONFIGURE_OPTS=--enable-shared pyenv install {version}; or uv python install {version} "
        f"and make the stub environment of {python} again with it"
    )
