"""Several devices and several processes: the same splits and predictions as one process with one device."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import jax
import numpy as np
import pytest

from afnet_jax.errors import DatasetError, Interrupted
from afnet_jax.experiments.run import run_experiment
from afnet_jax.runs.checkpoint_files import digest_of_arrays
from afnet_jax.runs.folder import open_checkpoints
from afnet_jax.training import processes
from tests.support.small_training import make_config, make_faces

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GROUPS = {"train.folds_per_group": "2", "train.epochs": 1}


def run_here(workdir: str, changes: str) -> None:
    """What each process of these tests does, without JAX's exchange between CPUs, which waits for nobody over 30 s."""
    jax.config.update("jax_cpu_collectives_implementation", None)
    processes.join(make_config(**json.loads(changes)).distributed)
    run_experiment(make_config(**json.loads(changes)), workdir, data=make_faces())


def start(workdir: Path, flags: str = "", **changes) -> subprocess.Popen:
    code = "import sys; from tests.training.test_processes import run_here; run_here(*sys.argv[1:])"
    cache = {"JAX_COMPILATION_CACHE_DIR": jax.config.jax_compilation_cache_dir}
    return subprocess.Popen(
        [sys.executable, "-c", code, str(workdir), json.dumps(GROUPS | changes)],
        cwd=ROOT,
        env={**os.environ, **cache, "JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags},
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen) -> None:
    told = process.communicate(timeout=600)[1]
    assert process.returncode == 0, told


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The run of one process on one device."""
    folder = tmp_path_factory.mktemp("alone")
    run_experiment(make_config(**GROUPS), folder, data=make_faces())
    return folder


def assert_same(alone: Path, other: Path) -> None:
    assert (alone / "splits.json").read_text() == (other / "splits.json").read_text()
    with np.load(alone / "predictions.npz") as expected, np.load(other / "predictions.npz") as found:
        for name in ("round", "fold", "scan_id", "label"):
            np.testing.assert_array_equal(found[name], expected[name], err_msg=name)
        np.testing.assert_array_equal(found["logits"], expected["logits"])
    assert json.loads((other / "summary.json").read_text())["complete"]
    assert metrics(alone) == metrics(other)


def metrics(folder: Path) -> list[dict]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if not name.endswith("seconds")} for line in lines]


def test_two_devices_of_one_process(alone, tmp_path):
    finish(start(tmp_path, flags="--xla_force_host_platform_device_count=2"))
    assert len(json.loads((tmp_path / "environment.json").read_text())["devices"]) == 2
    assert_same(alone, tmp_path)


def test_two_processes(alone, tmp_path):
    """The second has room for one training at a time alone: each saves, and ends, at a time of its own."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    joined = {"distributed.coordinator": address, "distributed.processes": 2}
    both = [
        start(tmp_path, **joined, **{"distributed.process": 0}),
        start(tmp_path, **joined, **{"distributed.process": 1, "train.folds_per_group": "1"}),
    ]
    for process in both:
        finish(process)
    assert [path.name for path in tmp_path.glob("metrics*.jsonl")] == ["metrics.jsonl"]
    assert_same(alone, tmp_path)
    stored = open_checkpoints(tmp_path)  # each process's own
    for fold in range(3):
        found, expected = stored.weights((0, fold)), open_checkpoints(alone).weights((0, fold))
        assert digest_of_arrays(found) == digest_of_arrays(expected)


def test_a_fault_of_the_first_process_reaches_the_others(monkeypatch):
    """They wait for it at a barrier, and would wait in vain."""
    waited = []
    monkeypatch.setattr(processes, "wait_for_all", waited.append)
    with pytest.raises(DatasetError), processes.first_alone("the data set is there"):
        raise DatasetError("none")
    assert waited == ["the data set is there"]


def test_a_process_that_waits_can_be_stopped(monkeypatch):
    never = threading.Event()
    monkeypatch.setattr(processes.multihost, "get_barrier_sync_fn", lambda: lambda **_: never.wait())

    def stopped():
        raise Interrupted("stopped")

    with pytest.raises(Interrupted):
        processes.wait_for_all("the others", stopped)
    never.set()
