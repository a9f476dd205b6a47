"""What the figures were measured on, and who else used it meanwhile."""

import os
import platform
import signal
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NamedTuple

from stream.clock import SystemClock

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")


def machine() -> dict[str, str | int]:
    """Date, processor, cores, memory, kernel and Python."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": _processor(),
        "cores": os.cpu_count() or 0,
        "memory_gib": round(memory_bytes / 2**30),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
    }


def versions(distributions: Iterable[str]) -> dict[str, str]:
    """The installed version of each."""
    found = {}
    for name in distributions:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return found


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


class CpuReading(NamedTuple):
    """One look at the machine's processors."""

    at_seconds: float
    #: CPU seconds of everything on the machine …
    all_seconds: float
    #: … and of this process with all its children, living and ended.
    own_seconds: float


def read_cpu() -> CpuReading:
    """Look now."""
    fields = [
        int(text) for text in Path("/proc/stat").read_text(encoding="utf-8").split("\n", 1)[0].split()[1:]
    ]
    idle_ticks = fields[3] + fields[4]
    # Guest time (the last two fields) is counted in user time already.
    busy_seconds = (sum(fields[:8]) - idle_ticks) / _TICKS_PER_SECOND
    return CpuReading(
        SystemClock().monotonic_seconds(), busy_seconds, _tree_ticks(os.getpid()) / _TICKS_PER_SECOND
    )


def others_cores(before: CpuReading, after: CpuReading) -> float:
    """Cores that other people's processes kept busy between two looks."""
    seconds = max(after.at_seconds - before.at_seconds, 1e-9)
    others = (after.all_seconds - before.all_seconds) - (after.own_seconds - before.own_seconds)
    return max(others, 0.0) / seconds


def _tree_ticks(pid: int) -> int:
    """Of a process, its ended children that were waited for, and its living children."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        children = _children(pid)
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended between two looks; its parent counts it from now on
    return sum(int(text) for text in stat[11:15]) + sum(map(_tree_ticks, children))


def _children(pid: int) -> list[int]:
    return [
        int(child)
        for task in Path(f"/proc/{pid}/task").iterdir()
        for child in (task / "children").read_text(encoding="utf-8").split()
    ]


class LivingProcess(NamedTuple):
    """A process that is not mistaken for a later one of the same id."""

    pid: int
    started_ticks: int

    def kill(self) -> None:
        """End it, if it still is that one."""
        with suppress(FileNotFoundError, ProcessLookupError):
            if _started_ticks(self.pid) == self.started_ticks:
                os.kill(self.pid, signal.SIGKILL)


def descendants(pid: int) -> Iterator[LivingProcess]:
    """The children of a process and theirs, as far as they live."""
    with suppress(FileNotFoundError, ProcessLookupError):
        for child in _children(pid):
            with suppress(FileNotFoundError, ProcessLookupError):
                yield LivingProcess(child, _started_ticks(child))
            yield from descendants(child)


def _started_ticks(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[19])
