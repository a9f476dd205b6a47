"""Reading docker-compose.yml as compose does: merge keys applied, variables of the environment filled in."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
_VARIABLE = re.compile(r"\$\{(?P<name>\w+):-(?P<default>[^}]*)\}")


def load_compose(environment: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The parsed file; a variable takes its value from the environment given, else its default."""
    given = environment or {}
    text = _VARIABLE.sub(lambda found: given.get(found["name"], found["default"]), COMPOSE.read_text())
    loaded = yaml.safe_load(text)
    assert isinstance(loaded, dict)
    return loaded


def env_file(path: Path) -> dict[str, str]:
    """Variables of a file for ``--env-file``."""
    lines = [line for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return dict(line.split("=", 1) for line in lines)


def copied_sources(dockerfile: Path) -> list[str]:
    """What a Dockerfile takes from the build context."""
    sources: list[str] = []
    for line in dockerfile.read_text().splitlines():
        words = line.split()
        if words[:1] == ["COPY"] and not any(word.startswith("--from") for word in words):
            sources += [word for word in words[1:-1] if not word.startswith("--")]
    return sources
