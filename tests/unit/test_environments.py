"""The locks that `make` installs from."""

import re
import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOCKS = sorted((ROOT / "locks").glob("*.txt"))
_PIN = re.compile(r"^([a-z0-9][a-z0-9._-]*)==(\S+)", re.MULTILINE)


def pins(lock: Path) -> dict[str, set[str]]:
    """Versions by name; an environment marker may give a package two."""
    found: dict[str, set[str]] = {}
    for name, version in _PIN.findall(lock.read_text()):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("lock", LOCKS, ids=[lock.stem for lock in LOCKS])
def test_a_lock_pins_and_hashes_every_package_and_names_no_registry(lock: Path) -> None:
    text = lock.read_text()

    blocks = [block for block in re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE) if block.strip()]

    assert blocks
    assert [block for block in blocks if not _PIN.match(block)] == []
    assert [block for block in blocks if "--hash=sha256:" not in block] == []
    assert "://" not in text
    assert "index-url" not in text


@pytest.mark.parametrize(
    ("lock", "extras"),
    [
        ("stream", ()),
        ("embedded", ("embedded",)),
        ("dev", ("embedded", "dev")),
        ("trainer", ("trainer",)),
    ],
)
def test_a_lock_holds_all_that_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"]]
    for extra in extras:
        wanted += project["optional-dependencies"][extra]

    locked = pins(ROOT / "locks" / f"{lock}.txt")

    missing = [
        requirement
        for requirement in wanted
        if re.split(r"[\[=<>~! ;]", requirement, maxsplit=1)[0].lower() not in locked
    ]
    assert missing == []


def test_packages_of_two_locks_have_the_same_version_in_both() -> None:
    chain = [pins(ROOT / "locks" / f"{name}.txt") for name in ("stream", "embedded", "dev", "trainer")]

    for smaller, larger in pairwise(chain):
        assert {name: larger[name] for name in smaller if name in larger} == {
            name: smaller[name] for name in smaller if name in larger
        }


def test_the_bundled_tritons_environment_has_numpy_below_2() -> None:
    assert pins(ROOT / "locks" / "triton.txt")["numpy"] == {"1.26.4"}
