"""Throw-away environments for what the project itself does not depend on, so that its locks stay clean."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(".cache")
_TIMEOUT_SECONDS = 600.0


class EnvironmentUnavailableError(Exception):
    """The packages can't be had here; the message says why."""


def throw_away_environment(name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of ``.cache/NAME``; made with uv, or with venv and pip, unless it has these requirements already.

    Raises:
        EnvironmentUnavailableError: A package could not be installed.
    """
    directory = CACHE / name
    python, stamp = directory / "bin" / "python", directory / "requirements"
    wanted = "\n".join([sys.version, *requirements])
    if not stamp.exists() or stamp.read_text(encoding="utf-8") != wanted:
        shutil.rmtree(directory, ignore_errors=True)
        print(f"making {directory} with {', '.join(requirements)} …", flush=True)
        try:
            for command in _commands(directory, python, requirements):
                subprocess.run(command, check=True, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS)
        except (OSError, subprocess.SubprocessError) as error:
            told = getattr(error, "stderr", None) or error
            raise EnvironmentUnavailableError(
                f"{directory} could not be made: {str(told).strip()[-500:]}"
            ) from error
        stamp.write_text(wanted, encoding="utf-8")
    return python.absolute()


def _commands(directory: Path, python: Path, requirements: Sequence[str]) -> list[list[str]]:
    uv = shutil.which("uv") or str(CACHE / "uv" / "bin" / "uv")
    if Path(uv).exists():
        return [
            [uv, "venv", "--quiet", "--python", sys.executable, str(directory)],
            [uv, "pip", "install", "--quiet", "--python", str(python), *requirements],
        ]
    return [
        [sys.executable, "-m", "venv", str(directory)],
        [str(python), "-m", "pip", "install", "--quiet", *requirements],
    ]
