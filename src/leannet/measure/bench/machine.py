"""What the machine grants this process, and what else it did while something was timed."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from leannet_runtime.cores import usable_cores

__all__ = ["CpuLimits", "Load", "LoadMeter", "cpu_limits", "free_memory_bytes", "process_peak_bytes"]


@dataclass(frozen=True)
class CpuLimits:
    """How many cores this process may use."""

    affinity: int
    """Cores on which it may run."""

    quota: float | None
    """Cores whose time its control group may use up; None without a limit."""

    @property
    def threads(self) -> int:
        """As many threads as can really run at once, at least one."""
        return max(1, self.affinity if self.quota is None else min(self.affinity, math.floor(self.quota)))

    def sentence(self) -> str:
        """Say it in words."""
        quota = "no quota" if self.quota is None else f"a quota of {self.quota:g} cores"
        threads = f"{self.threads} thread{'s' * (self.threads > 1)}"
        return f"{threads} can run at once: affinity for {self.affinity} core{'s' * (self.affinity > 1)}, {quota}"


def cpu_limits(root: Path = Path("/")) -> CpuLimits:
    """Read the affinity of this process and the quota of its control group, version 1 or 2.

    Args:
        root: Where ``proc`` and ``sys`` lie; another one is for tests.
    """
    quotas = _group_limits(root, "cpu", _quota_of_version_1, _quota_of_version_2)
    return CpuLimits(usable_cores(), min(quotas, default=None))


def free_memory_bytes(root: Path = Path("/")) -> int | None:
    """Return the memory that this process could still take, by what is free and by the limit of its control group.

    Args:
        root: Where ``proc`` and ``sys`` lie; another one is for tests.

    Returns:
        None where the system does not say.
    """
    limits = [*_group_limits(root, "memory", _memory_of_version_1, _memory_of_version_2)]
    with contextlib.suppress(OSError, ValueError, StopIteration):
        lines = (root / "proc/meminfo").read_text(encoding="utf-8").splitlines()
        limits.append(1024 * int(next(line.split()[1] for line in lines if line.startswith("MemAvailable:"))))
    return None if not limits else int(min(limits))


def _group_limits(
    root: Path, controller: str, version_1: Callable[[Path], float | None], version_2: Callable[[Path], float | None]
) -> Iterator[float]:
    """Yield the limits of the control group and of all groups above it: the smallest holds."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield from _upwards(root / "sys/fs/cgroup", path, version_2)
        elif controller in controllers.split(","):
            for mount in (controllers, controller):
                yield from _upwards(root / "sys/fs/cgroup" / mount, path, version_1)


def _upwards(mount: Path, path: str, read: Callable[[Path], float | None]) -> Iterator[float]:
    group = mount / path.lstrip("/")
    for folder in (group, *group.parents):
        # Inside a container the path is that outside of it; what is missing is passed over.
        with contextlib.suppress(OSError, ValueError):
            if (limit := read(folder)) is not None:
                yield limit
        if folder == mount:
            return


def _quota_of_version_2(folder: Path) -> float | None:
    quota, period = (folder / "cpu.max").read_text(encoding="utf-8").split()
    return None if quota == "max" else int(quota) / int(period)


def _quota_of_version_1(folder: Path) -> float | None:
    quota, period = (int((folder / f"cpu.cfs_{what}_us").read_text(encoding="utf-8")) for what in ("quota", "period"))
    return None if quota < 0 else quota / period


def _memory_of_version_2(folder: Path) -> float | None:
    most = (folder / "memory.max").read_text(encoding="utf-8").strip()
    taken = int((folder / "memory.current").read_text(encoding="utf-8"))
    return None if most == "max" else max(0, int(most) - taken)


def _memory_of_version_1(folder: Path) -> float | None:
    most, taken = (int((folder / f"memory.{what}_in_bytes").read_text(encoding="utf-8")) for what in ("limit", "usage"))
    return max(0, most - taken)  # without a limit it is a number beyond any memory


@dataclass(frozen=True)
class Load:
    """What the machine did while something was timed; None where the system does not say."""

    before: float | None
    """Mean number of processes that wanted to run in the minute before."""

    after: float | None
    """The same in the last minute."""

    others: float | None
    """Share, 0 to 1, of the time of all cores that went to other processes meanwhile."""


class LoadMeter:
    """Looks at the machine when it is made, and again when it is asked.

    Args:
        root: Where ``proc`` lies; another one is for tests.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        self.root = root
        self.before = _load_average()
        self.begin = self._times()

    def _times(self) -> tuple[float, float] | None:
        """Return the seconds of all cores, and those that something other than this process and its children took."""
        try:
            text = (self.root / "proc/stat").read_text(encoding="utf-8")
        except OSError:
            return None
        user, nice, system, idle, waiting, *interrupts = [int(ticks) for ticks in text.split("\n", 1)[0].split()[1:9]]
        hertz = os.sysconf("SC_CLK_TCK")
        busy = (user + nice + system + sum(interrupts)) / hertz
        ours = os.times()
        return busy + (idle + waiting) / hertz, busy - sum(ours[:4])

    def finish(self) -> Load:
        """Return what the machine did since this was made."""
        begin, now = self.begin, self._times()
        others = None
        if begin is not None and now is not None and now[0] > begin[0]:
            others = min(1.0, max(0.0, (now[1] - begin[1]) / (now[0] - begin[0])))
        return Load(self.before, _load_average(), others)


def _load_average() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):  # Windows has none
        return None


def process_peak_bytes() -> int | None:
    """Return the largest resident memory of this process so far; None where the system does not say."""
    with contextlib.suppress(ImportError):  # Windows has no such module
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return None
