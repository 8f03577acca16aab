"""The trained detector as one safetensors file in the package, with a digest that is checked."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
from pathlib import Path

import numpy as np
import safetensors.numpy
from flax import nnx

from afnet_jax.errors import WeightsError
from afnet_jax.landmarks.network import FaceFinder, LandmarkFinder
from afnet_jax.landmarks.plausibility import Prior

FILE = Path(__file__).with_name("detector.safetensors")
DIGEST = ""  # SHA-256 of FILE


@dataclasses.dataclass(frozen=True)
class Detector:
    """Both networks, trained, and what is known of faces."""

    face_finder: FaceFinder
    landmark_finder: LandmarkFinder
    prior: Prior


def save_detector(detector: Detector, path: Path) -> str:
    """Writes the detector, its kernels as float16; returns the file's SHA-256."""
    tensors = {"prior.mean": detector.prior.mean, "prior.covariance": detector.prior.covariance}
    tensors = {name: np.asarray(value, np.float32) for name, value in tensors.items()}
    for name in ("face_finder", "landmark_finder"):
        for path_in_net, leaf in nnx.to_flat_state(nnx.state(getattr(detector, name))):
            value = np.asarray(leaf[...])
            tensors[".".join([name, *map(str, path_in_net)])] = value.astype(
                np.float16 if value.ndim > 1 else np.float32
            )
    path.write_bytes(safetensors.numpy.save(tensors))
    return hashlib.sha256(path.read_bytes()).hexdigest()


@functools.cache
def load_detector(path: Path = FILE) -> Detector:
    """Loads the package's detector, or one that was trained anew.

    Raises:
        WeightsError: the file is missing, is not the package's own, or is none of a detector.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise WeightsError(
            f"{path}: the landmark detector's weights cannot be read ({error.strerror}); install anew"
        ) from None
    if path == FILE and hashlib.sha256(data).hexdigest() != DIGEST:
        raise WeightsError(
            f"{path}: the landmark detector's weights are damaged: expected SHA-256 {DIGEST}; install anew"
        )
    try:
        tensors = safetensors.numpy.load(data)
        prior = Prior(*(tensors[f"prior.{name}"].astype(np.float64) for name in ("mean", "covariance")))
        nets = (_filled("face_finder", FaceFinder, tensors), _filled("landmark_finder", LandmarkFinder, tensors))
    except Exception as error:
        raise WeightsError(f"{path}: no landmark detector's weights ({type(error).__name__}: {error})") from error
    return Detector(*nets, prior)


def _filled(name: str, kind: type, tensors: dict[str, np.ndarray]):
    net = kind(rngs=nnx.Rngs(0))
    state = nnx.state(net)
    for path, leaf in nnx.to_flat_state(state):
        value = tensors[".".join([name, *map(str, path)])]
        if value.shape != leaf.shape:
            raise ValueError(f"{name} {path}: shape {value.shape}, expected {leaf.shape}")
        leaf[...] = value.astype(np.float32)
    nnx.update(net, state)
    net.eval()
    return net
