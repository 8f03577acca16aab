"""How much of this machine the process may use: what the operating system, a container or SLURM leave it.

A container sees the memory and the cores of its host; what it may take of them stands in its control group (cgroup).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOT = Path("/")
_MIB = 2**20


def usable_memory(root: Path = _ROOT, environment: Mapping[str, str] = os.environ) -> int:
    """Bytes of main memory that this process may take: the least of what is there and of every limit set.

    Limits are those of the process's cgroup (version 1 or 2), of every cgroup around it, and of a SLURM job.

    Args:
        root: of the file system that holds proc/self/cgroup and sys/fs/cgroup.
        environment: variables, among them SLURM's.
    """
    limits = [os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"), *_slurm_memory(environment)]
    for folder in _cgroup_folders(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            limits += _numbers(folder / name)[:1]
    return min(limit for limit in limits if limit > 0)


def usable_cores(root: Path = _ROOT) -> int:
    """Cores that this process may keep busy: those it may run on, or fewer where a cgroup's quota allows fewer.

    Args:
        root: of the file system that holds proc/self/cgroup and sys/fs/cgroup.
    """
    # Not every system has an affinity.
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    for folder in _cgroup_folders(root, "cpu"):
        quota = _numbers(folder / "cpu.max")
        if not quota:
            quota = _numbers(folder / "cpu.cfs_quota_us") + _numbers(folder / "cpu.cfs_period_us")
        if len(quota) == 2 and min(quota) > 0:  # "max 100000" gives one number, a quota of -1 none
            cores = min(cores, quota[0] / quota[1])
    return max(1, int(cores))


def _slurm_memory(environment: Mapping[str, str]) -> Iterator[int]:
    """Bytes that a SLURM job has on this node; 0 where it has all of it."""

    def number(name: str) -> int:
        text = environment.get(name, "")
        return int(text) if text.isdigit() else 0

    yield number("SLURM_MEM_PER_NODE") * _MIB
    cpus = number("SLURM_CPUS_ON_NODE") or number("SLURM_CPUS_PER_TASK") or 1
    yield number("SLURM_MEM_PER_CPU") * cpus * _MIB


def _cgroup_folders(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the process's cgroup and of all around it, as far as they can be seen from here.

    Within a container /proc may tell the host's path, while /sys/fs/cgroup begins at the container's own cgroup; so
    folders that are not there are passed over on the way up.
    """
    mount = root / "sys/fs/cgroup"
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            tops = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            tops = [mount / controllers, mount / controller]
        else:
            continue
        inside = Path(path.lstrip("/"))
        for top in tops:
            yield from (top / part for part in (inside, *inside.parents) if ".." not in part.parts)


def _numbers(file: Path) -> list[int]:
    """Whole numbers in a file; none where it cannot be read."""
    try:
        return [int(text) for text in re.findall(r"-?\d+", file.read_text(encoding="utf-8"))]
    except OSError:
        return []
