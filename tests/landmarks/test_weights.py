"""The trained detector in the package."""

import jax
import numpy as np
import pytest
from flax import nnx

from afnet_jax.errors import WeightsError
from afnet_jax.landmarks import weights
from afnet_jax.landmarks.network import FaceFinder, LandmarkFinder
from afnet_jax.landmarks.plausibility import Prior
from afnet_jax.sha256 import digest_of_file


def untrained() -> weights.Detector:
    nets = FaceFinder(rngs=nnx.Rngs(0)), LandmarkFinder(rngs=nnx.Rngs(1))
    return weights.Detector(*nets, Prior(np.arange(66.0), np.eye(66), 2 * np.eye(66)))


def test_are_small_and_the_packages_own():
    assert weights.FILE.stat().st_size < 3e6
    weights.load_detector()


@pytest.mark.slow
def test_come_back_as_they_were_saved(tmp_path):
    before = untrained()
    weights.save_detector(before, tmp_path / "own.safetensors")
    after = weights.load_detector(tmp_path / "own.safetensors")
    for a, b in zip(
        jax.tree.leaves(nnx.state(before.landmark_finder)),
        jax.tree.leaves(nnx.state(after.landmark_finder)),
        strict=True,
    ):
        assert np.allclose(a, b, atol=1e-3)
    assert np.array_equal(before.prior.mean, after.prior.mean)
    assert np.array_equal(before.prior.errors, after.prior.errors)


def test_damaged_ones_are_refused(tmp_path, monkeypatch):
    data = bytearray(weights.FILE.read_bytes())
    data[len(data) // 2] ^= 1
    path = tmp_path / weights.FILE.name
    path.write_bytes(data)
    monkeypatch.setattr(weights, "FILE", path)
    with pytest.raises(WeightsError, match="damaged"):
        weights.load_detector(path)


def test_missing_ones_and_other_files_are_refused(tmp_path):
    with pytest.raises(WeightsError, match="cannot be read"):
        weights.load_detector(tmp_path / "none.safetensors")
    (tmp_path / "other.safetensors").write_bytes(b"no tensors")
    with pytest.raises(WeightsError, match="no landmark detector's"):
        weights.load_detector(tmp_path / "other.safetensors")


def test_weights_are_written_into_a_folder_that_is_not_there_yet(tmp_path):
    out = tmp_path / "new" / "detector.safetensors"
    assert weights.save_detector(weights.load_detector(), out) == digest_of_file(out)
