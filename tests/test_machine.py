"""Memory and cores that a process may use, read from file trees as containers show them."""

import os

import pytest

from afnet_jax.machine import usable_cores, usable_memory

GIB = 2**30
MEMORY = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
CORES = len(os.sched_getaffinity(0))
LITTLE = MEMORY // 8  # less than any machine of the tests has


def tree(root, **files):
    """A file system of a few files; `__` stands for a slash."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{content}\n")
    return root


def place(root, cgroup, **files):
    """The same, for a process in this cgroup; names are below sys/fs/cgroup."""
    return tree(
        root,
        proc__self__cgroup=cgroup,
        **{f"sys__fs__cgroup__{name}": content for name, content in files.items()},
    )


def memory(root, **environment):
    return usable_memory(root, environment)


def test_no_limit_leaves_all_of_the_machine(tmp_path):
    assert memory(tmp_path / "no files at all") == MEMORY
    assert memory(place(tmp_path, "0::/", **{"memory.max": "max"})) == MEMORY
    assert usable_cores(tmp_path) == CORES


def test_container_with_a_cgroup_namespace(tmp_path):
    assert memory(place(tmp_path, "0::/", **{"memory.max": LITTLE})) == LITTLE


def test_container_whose_path_is_the_hosts(tmp_path):
    """As with cgroup version 1: /proc tells a path that is not there below /sys/fs/cgroup."""
    root = place(tmp_path, "9:name=systemd:/\n4:memory:/docker/3f2a\n0::/", **{"memory__memory.limit_in_bytes": LITTLE})
    assert memory(root) == LITTLE


def test_version_1_without_a_limit_says_a_huge_number(tmp_path):
    root = place(tmp_path, "4:memory:/job\n0::/", **{"memory__job__memory.limit_in_bytes": 9223372036854771712})
    assert memory(root) == MEMORY


@pytest.mark.parametrize("tight", ["user.slice", "user.slice__job", "user.slice__job__step"])
def test_the_tightest_of_nested_cgroups_counts(tmp_path, tight):
    folders = ("user.slice", "user.slice__job", "user.slice__job__step")
    limits = {f"{folder}__memory.max": LITTLE if folder == tight else 2 * LITTLE for folder in folders}
    assert memory(place(tmp_path, "0::/user.slice/job/step", **limits)) == LITTLE


def test_another_processs_cgroup_does_not_count(tmp_path):
    root = place(tmp_path, "0::/mine", **{"mine__memory.max": 2 * LITTLE, "other__memory.max": LITTLE})
    assert memory(root) == 2 * LITTLE


def test_cgroup_outside_the_namespace(tmp_path):
    """A process that was moved out of the namespace has a path that climbs above the mount."""
    root = place(tmp_path / "a" / "b", "0::/../../elsewhere", **{"memory.max": LITTLE})
    tree(tmp_path / "a", **{"elsewhere__memory.max": 1})
    assert memory(root) == LITTLE


@pytest.mark.parametrize(
    ("environment", "mib"),
    [
        ({"SLURM_MEM_PER_NODE": "100"}, 100),
        ({"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_ON_NODE": "4", "SLURM_CPUS_PER_TASK": "2"}, 400),
        ({"SLURM_MEM_PER_CPU": "100", "SLURM_CPUS_PER_TASK": "2"}, 200),
        ({"SLURM_MEM_PER_CPU": "100"}, 100),
        ({"SLURM_MEM_PER_NODE": "0"}, MEMORY / 2**20),  # all of the node's
        ({"SLURM_MEM_PER_NODE": "much"}, MEMORY / 2**20),
    ],
)
def test_slurm_jobs_have_their_share_of_a_node(tmp_path, environment, mib):
    assert memory(tmp_path, **environment) == mib * 2**20


def test_the_least_of_slurm_and_cgroup_counts(tmp_path):
    root = place(tmp_path, "0::/", **{"memory.max": 300 * 2**20})
    assert memory(root, SLURM_MEM_PER_NODE="200") == 200 * 2**20
    assert memory(root, SLURM_MEM_PER_NODE="400") == 300 * 2**20


@pytest.mark.parametrize(
    ("cgroup", "files", "quota"),
    [
        ("0::/", {"cpu.max": "max 100000"}, None),
        ("0::/", {"cpu.max": "150000 100000"}, 1),
        ("0::/", {"cpu.max": "20000 100000"}, 1),
        ("0::/job", {"job__cpu.max": "max 100000", "cpu.max": "100000 100000"}, 1),
        ("3:cpu,cpuacct:/", {"cpu,cpuacct__cpu.cfs_quota_us": -1, "cpu,cpuacct__cpu.cfs_period_us": 100000}, None),
        ("3:cpu,cpuacct:/", {"cpu,cpuacct__cpu.cfs_quota_us": 100000, "cpu,cpuacct__cpu.cfs_period_us": 100000}, 1),
        ("3:cpuset:/", {"cpu__cpu.cfs_quota_us": 1000, "cpu__cpu.cfs_period_us": 1000}, None),
    ],
)
def test_cores_within_a_quota(tmp_path, monkeypatch, cgroup, files, quota):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2, 3})
    assert usable_cores(place(tmp_path, cgroup, **files)) == (quota or 4)


def test_this_machine():
    assert 0 < usable_memory() <= MEMORY
    assert 1 <= usable_cores() <= CORES
