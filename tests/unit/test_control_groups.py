"""Limits of containers, read from Linux's files."""

from __future__ import annotations

from pathlib import Path

import pytest

from patchbank import settings
from patchbank.control_groups import free_memory, processor_share
from patchbank.settings import get_settings, usable_cores

_UNIFIED = "30 23 0:26 {top} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate"
_CPU = "31 23 0:27 {top} /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct"
_MEMORY = "32 23 0:28 {top} /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory"


def machine(root: Path, groups: str, mounts: str, files: dict[str, str]) -> Path:
    """Create the files that a process finds under its root folder."""
    for name, text in {
        "proc/self/cgroup": groups + "\n",
        "proc/self/mountinfo": f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n{mounts}\n",
        **{f"sys/fs/cgroup/{name}": text for name, text in files.items()},
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("group", "top", "files", "share"),
    [
        # A container sees its own group as the root.
        ("/", "/", {"cpu.max": "150000 100000\n"}, 1.5),
        ("/", "/", {"cpu.max": "max 100000\n"}, None),
        # The groups around it count too.
        (
            "/kube/pod/box",
            "/",
            {"kube/pod/box/cpu.max": "max 100000\n", "kube/cpu.max": "200000 50000\n"},
            4.0,
        ),
        (
            "/kube/pod",
            "/",
            {"kube/pod/cpu.max": "50000 100000\n", "kube/cpu.max": "900000 100000\n"},
            0.5,
        ),
        # The tree is mounted at the container's group, whose name is that of the host.
        ("/docker/1f", "/docker/1f", {"cpu.max": "300000 100000\n"}, 3.0),
        # The process is in a group that its container cannot see.
        ("/../other", "/", {"cpu.max": "100000 100000\n"}, 1.0),
        ("/", "/", {}, None),
    ],
)
def test_quotas_of_version_2(
    tmp_path: Path, group: str, top: str, files: dict[str, str], share: float | None
) -> None:
    root = machine(tmp_path, f"0::{group}", _UNIFIED.format(top=top), files)
    assert processor_share(root) == share


def test_quotas_of_version_1(tmp_path: Path) -> None:
    groups = "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f/part\n0::/"
    mounts = "\n".join([_CPU.format(top="/"), _MEMORY.format(top="/docker/1f")])
    files = {
        "cpu,cpuacct/docker/1f/part/cpu.cfs_quota_us": "-1\n",
        "cpu,cpuacct/docker/1f/part/cpu.cfs_period_us": "100000\n",
        "cpu,cpuacct/docker/1f/cpu.cfs_quota_us": "250000\n",
        "cpu,cpuacct/docker/1f/cpu.cfs_period_us": "100000\n",
        "memory/memory.limit_in_bytes": "1000000000\n",
        "memory/memory.usage_in_bytes": "400000000\n",
    }
    root = machine(tmp_path, groups, mounts, files)
    assert processor_share(root) == 2.5
    assert free_memory(root) == 600_000_000


def test_the_tightest_memory_counts(tmp_path: Path) -> None:
    files = {
        "a/b/memory.max": "max\n",
        "a/b/memory.current": "100\n",
        "a/memory.max": "5000\n",
        "a/memory.current": "1000\n",
    }
    root = machine(tmp_path, "0::/a/b", _UNIFIED.format(top="/"), files)
    assert free_memory(root) == 4000


def test_another_system_has_no_groups(tmp_path: Path) -> None:
    assert processor_share(tmp_path) is None
    assert free_memory(tmp_path) is None


@pytest.mark.parametrize(
    ("share", "cores"), [(0.5, 1), (1.0, 1), (1.5, 2), (3.0, 3), (64.0, 8), (None, 8)]
)
def test_threads_are_as_many_as_the_quota_lets_run(
    monkeypatch: pytest.MonkeyPatch, share: float | None, cores: int
) -> None:
    monkeypatch.delenv("PATCHBANK_THREADS", raising=False)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(settings, "_processor_share", lambda: share)
    get_settings.cache_clear()
    try:
        assert usable_cores() == cores
    finally:
        get_settings.cache_clear()
