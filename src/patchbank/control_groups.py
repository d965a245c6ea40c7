"""CPU and memory limits of Linux control groups, such as containers.

Groups are nested, and the tightest limit applies. Version 2 has one tree of groups; version 1 has
one per resource; a machine may have both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def processor_share(root: Path = _ROOT) -> float | None:
    """Return how many processors this process may use, such as 1.5; None without a limit."""
    shares = [
        quota / period
        for folder in _groups("cpu", root)
        for quota, period in (_quota_and_period(folder),)
        if quota > 0 and period > 0
    ]
    return min(shares, default=None)


def free_memory(root: Path = _ROOT) -> int | None:
    """Return the bytes of memory left to this process's groups; None without a limit.

    The page cache counts as used although the kernel can free it: this errs on the safe side.
    """
    free = []
    for folder in _groups("memory", root):
        for limit_file, usage_file in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, usage = _numbers(folder / limit_file), _numbers(folder / usage_file)
            if limit and usage:
                free.append(limit[0] - usage[0])
    return min(free, default=None)


def _quota_and_period(folder: Path) -> tuple[int, int]:
    """Return the CPU quota and its period in microseconds; zeros without a limit."""
    numbers = _numbers(folder / "cpu.max")
    if len(numbers) == 2:
        return numbers[0], numbers[1]
    quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
    return (quota[0], period[0]) if quota and period else (0, 0)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of this process's groups, innermost first."""
    memberships = dict(_memberships(root))
    for kind, top, folder, options in _mounts(root):
        name = "" if kind == "cgroup2" else controller
        if name not in memberships or (name and name not in options):
            continue
        group = PurePosixPath(memberships[name])
        # A container may see its own group as the root of the tree.
        inside = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        for step in (inside, *inside.parents):
            yield folder / step


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """Yield each controller and this process's group; version 2 has the controller ``""``."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, group


def _mounts(root: Path) -> Iterator[tuple[str, str, Path, list[str]]]:
    """Yield each mounted tree's kind, top group, folder and options."""
    for line in _lines(root / "proc/self/mountinfo"):
        mount, _, file_system = line.partition(" - ")
        fields, (kind, _, options) = mount.split(), file_system.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            yield kind, fields[3], root / fields[4].lstrip("/"), options.split(",")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # not Linux, or not readable
        return []


def _numbers(file: Path) -> list[int]:
    """Return a file's numbers; none if it contains "max" or is missing."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
