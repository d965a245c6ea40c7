"""The shares of processors and memory that Linux gives a group of processes, as containers are.

A group lies in others, and the least share of all counts. Version 2 of the groups has one tree;
version 1 has one for every kind of resource; a machine may have both.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path, PurePosixPath

_ROOT = Path("/")


def processor_share(root: Path = _ROOT) -> float | None:
    """Return how many processors' time this process may take; None without a limit."""
    shares = [
        quota / period
        for folder in _groups("cpu", root)
        for quota, period in (_pair(folder),)
        if quota > 0 and period > 0
    ]
    return min(shares, default=None)


def free_memory(root: Path = _ROOT) -> int | None:
    """Return the bytes that the groups of this process may still take; None without a limit.

    Files in the page cache count as used, but give way: this errs on the safe side.
    """
    free = []
    for folder in _groups("memory", root):
        for most, used in (
            ("memory.max", "memory.current"),
            ("memory.limit_in_bytes", "memory.usage_in_bytes"),
        ):
            limit, taken = _numbers(folder / most), _numbers(folder / used)
            if limit and taken:
                free.append(limit[0] - taken[0])
    return min(free, default=None)


def _pair(folder: Path) -> tuple[int, int]:
    """Return microseconds of processor time, and in how many they may be taken; 0 for no limit."""
    both = _numbers(folder / "cpu.max")
    if len(both) == 2:
        return both[0], both[1]
    quota, period = _numbers(folder / "cpu.cfs_quota_us"), _numbers(folder / "cpu.cfs_period_us")
    return (quota[0], period[0]) if quota and period else (0, 0)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """Yield the folders of the groups this process is in, from the innermost to the outermost."""
    own = dict(_memberships(root))
    for kind, top, folder, options in _mounts(root):
        name = "" if kind == "cgroup2" else controller
        if name not in own or (name and name not in options):
            continue
        group = PurePosixPath(own[name])
        # A container may see its own group as the root of the tree, under either name.
        inside = group.relative_to(top) if group.is_relative_to(top) else PurePosixPath()
        if ".." in inside.parts:
            inside = PurePosixPath()
        for step in (inside, *inside.parents):
            yield folder / step


def _memberships(root: Path) -> Iterator[tuple[str, str]]:
    """Yield controllers and the group of this process; version 2 has the controller ``""``."""
    for line in _lines(root / "proc/self/cgroup"):
        _, controllers, group = line.split(":", 2)
        for controller in controllers.split(","):
            yield controller, group


def _mounts(root: Path) -> Iterator[tuple[str, str, Path, list[str]]]:
    """Yield each tree's kind, the group at its top, its folder and its options."""
    for line in _lines(root / "proc/self/mountinfo"):
        mounted, _, file_system = line.partition(" - ")
        fields, (kind, _, options) = mounted.split(), file_system.split(" ", 2)
        if kind in ("cgroup", "cgroup2"):
            yield kind, fields[3], root / fields[4].lstrip("/"), options.split(",")


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except OSError:  # not Linux, or nothing is told
        return []


def _numbers(file: Path) -> list[int]:
    """Return the numbers of a file's first line; none where it says "max" or is not there."""
    try:
        return [int(word) for word in file.read_text().split()]
    except (OSError, ValueError):
        return []
