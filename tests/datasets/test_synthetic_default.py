"""The default data set is made once, by one process, and anew when what makes it has changed."""

import json
import subprocess
import sys

import numpy as np
import pytest

from afnet_jax.datasets import digests, synthetic_default
from afnet_jax.datasets.synthetic_default import prepare_synthetic
from afnet_jax.synthetic import population
from tests.datasets.synthetic_golden import GOLDEN, measured

# Far above what another processor's rounding changes, far below what a change of the generator does.
TOLERANCE = {"points": 0.05, "landmarks": 0.05, "depth": 0.1, "valid": 0.02, "texture": 1.0, "masks": 0.01}


@pytest.fixture(scope="module")
def found():
    return measured()


@pytest.mark.parametrize(
    ("part", "version", "constant"),
    [
        ("scans", "generation", "afnet_jax.synthetic.population.GENERATION"),
        ("maps", "preparation", "afnet_jax.datasets.synthetic_default.PREPARATION"),
    ],
)
def test_scans_and_maps_change_with_their_version_alone(found, part, version, constant):
    golden = json.loads(GOLDEN.read_text())
    told = f"the synthetic {part} have changed: raise {constant}, then run python tests/datasets/synthetic_golden.py"
    assert golden[version] == found[version], told
    assert golden[part].keys() == found[part].keys(), told
    for name, expected in golden[part].items():
        for kind, values in expected.items():
            np.testing.assert_allclose(found[part][name][kind], values, atol=TOLERANCE[kind], err_msg=told)


@pytest.fixture
def made(monkeypatch):
    """Raw folders that were filled; the data sets made of them are empty."""
    calls = []

    def instead_of_preparing(database, raw, data_dir):
        folder = data_dir / database / synthetic_default.VERSION
        folder.mkdir(parents=True)
        digests.write_digests(folder, "source")

    monkeypatch.setattr(population, "write_people", lambda folder, **settings: calls.append(folder))
    monkeypatch.setattr(synthetic_default, "prepare", instead_of_preparing)
    return calls


def test_a_set_is_made_once(made, tmp_path):
    first = prepare_synthetic(tmp_path, 2, 0)
    assert prepare_synthetic(tmp_path, 2, 0) == first and len(made) == 1
    others = {prepare_synthetic(tmp_path, subjects, seed) for subjects, seed in ((3, 0), (2, 1))}
    assert len(made) == 3 and len({first, *others}) == 3


@pytest.mark.parametrize(("module", "version"), [(population, "GENERATION"), (synthetic_default, "PREPARATION")])
def test_a_set_of_another_version_is_not_taken(made, tmp_path, monkeypatch, module, version):
    before = prepare_synthetic(tmp_path, 2, 0)
    monkeypatch.setattr(module, version, getattr(module, version) + 1)
    after = prepare_synthetic(tmp_path, 2, 0)
    assert after != before and len(made) == 2
    assert before.exists()  # runs that were begun with it can still be looked at


TWICE = """
import pathlib, sys, time
from afnet_jax.datasets import digests, synthetic_default
from afnet_jax.synthetic import population

def write_people(folder, **settings):
    folder.mkdir(parents=True)  # fails where another process makes it at the same time
    (folder / "made").touch()
    time.sleep(1)

def prepare(database, raw, data_dir):
    assert list(raw.iterdir()) == [raw / "made"]
    (data_dir / database / synthetic_default.VERSION).mkdir(parents=True)
    digests.write_digests(data_dir / database / synthetic_default.VERSION, "source")

population.write_people = synthetic_default.write_people = write_people
synthetic_default.prepare = prepare
print("ready", flush=True)
sys.stdin.readline()
print(synthetic_default.prepare_synthetic(pathlib.Path(sys.argv[1]), 1, 0))
"""


@pytest.mark.slow
def test_of_two_processes_at_once_one_makes_the_set(tmp_path):
    both = [
        subprocess.Popen(
            [sys.executable, "-c", TWICE, str(tmp_path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    assert [process.stdout.readline() for process in both] == ["ready\n"] * 2
    for process in both:
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    folder = prepare_synthetic(tmp_path, 1, 0)
    assert [out for out, _ in said] == [f"{folder}\n"] * 2
    quiet, waiting = sorted(error for _, error in said)
    assert quiet == "" and len(waiting.splitlines()) == 1
    assert waiting.startswith(f"{folder}: the synthetic data set is being made by ")
