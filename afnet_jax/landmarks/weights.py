"""The trained detector as one safetensors file in the package, with a digest that is checked."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from flax import nnx

from afnet_jax.atomic_files import write_bytes_atomically
from afnet_jax.errors import WeightsError
from afnet_jax.landmarks.network import FaceFinder, LandmarkFinder, at_cells, features
from afnet_jax.landmarks.plausibility import Prior
from afnet_jax.landmarks.views import COARSE_STEP, FINE_STEP
from afnet_jax.sha256 import digest_of

FILE = Path(__file__).with_name("detector.safetensors")
DIGEST = "baaf79caffbd1e146e05755611a7d8337cb6db15971401916d5205cd0d4f8280"  # SHA-256 of FILE


@dataclasses.dataclass(frozen=True)
class Detector:
    """Both networks, trained, and what is known of faces."""

    face_finder: FaceFinder
    landmark_finder: LandmarkFinder
    prior: Prior

    def faces(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Looks for faces in (H, W) mm of a coarse view: FaceFinder's output, and the surroundings' mean height."""
        inputs, mean = features(depth[None], COARSE_STEP)
        return np.asarray(self._coarse(inputs))[0], np.asarray(at_cells(mean))[0]

    def places(self, depth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places the landmarks in (B, H, W) mm of upright views: (B, 22, 2) pixels (col, row), (B,) logit of a face."""
        pixels, _, face = self._fine(features(depth, FINE_STEP)[0])
        return np.asarray(pixels), np.asarray(face)

    @functools.cached_property
    def _coarse(self) -> Callable:
        return _program(self.face_finder)

    @functools.cached_property
    def _fine(self) -> Callable:
        return _program(self.landmark_finder)


def _program(net: nnx.Module) -> Callable:
    """The network as a function that is compiled once for each shape of its input."""
    net.eval()
    graph, state = nnx.split(net)
    return functools.partial(jax.jit(lambda state, x: nnx.merge(graph, state)(x)), state)


def save_detector(detector: Detector, path: Path) -> str:
    """Writes the detector, its kernels as float16; returns the file's SHA-256."""
    prior = dataclasses.asdict(detector.prior)
    tensors = {f"prior.{name}": np.asarray(value, np.float32) for name, value in prior.items()}
    for name in ("face_finder", "landmark_finder"):
        for path_in_net, leaf in nnx.to_flat_state(nnx.state(getattr(detector, name))):
            value = np.asarray(leaf[...])
            tensors[".".join([name, *map(str, path_in_net)])] = value.astype(
                np.float16 if value.ndim > 1 else np.float32
            )
    data = safetensors.numpy.save(tensors)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes_atomically(path, data)
    return digest_of(data)


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
    if path == FILE and digest_of(data) != DIGEST:
        raise WeightsError(
            f"{path}: the landmark detector's weights are damaged: expected SHA-256 {DIGEST}; install anew"
        )
    try:
        tensors = safetensors.numpy.load(data)
        names = [field.name for field in dataclasses.fields(Prior)]
        prior = Prior(*(tensors[f"prior.{name}"].astype(np.float64) for name in names))
        nets = (_filled("face_finder", FaceFinder, tensors), _filled("landmark_finder", LandmarkFinder, tensors))
    except Exception as error:
        raise WeightsError(f"{path}: no landmark detector's weights ({type(error).__name__}: {error})") from error
    return Detector(*nets, prior)


def _filled(name: str, kind: type, tensors: dict[str, np.ndarray]):
    graph, state = nnx.split(nnx.eval_shape(lambda: kind(rngs=nnx.Rngs(0))))
    flat = nnx.to_flat_state(state)
    for path, leaf in flat:
        value = tensors[".".join([name, *map(str, path)])]
        if value.shape != leaf.shape:
            raise ValueError(f"{name} {path}: shape {value.shape}, expected {leaf.shape}")
    filled = [
        (path, leaf.replace(jnp.asarray(tensors[".".join([name, *map(str, path)])], jnp.float32)))
        for path, leaf in flat
    ]
    return nnx.merge(graph, nnx.from_flat_state(filled))
