"""Weights that a network starts from, of another network or of another variant: what fits is taken, the rest is named.

A file of them is a safetensors file whose names are paths, "params.trunks.texture.conv1.kernel" or
"batch_stats.trunks.texture.bn1.mean", in any floating-point type, with a record as metadata.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from afnet_jax.atomic_files import write_bytes_atomically
from afnet_jax.errors import WeightsError, in_one_line
from afnet_jax.models.afnet import AFNet
from afnet_jax.sha256 import digest_of, digest_of_file

SUFFIX = ".safetensors"
_RECORD = "afnet_jax"
_KINDS = {"params": nnx.Param, "batch_stats": nnx.BatchStat}


@dataclasses.dataclass(frozen=True)
class StartingWeights:
    """Weights of one trained network.

    Attributes:
        tensors: float32 arrays by path.
        source: where they came from, for people.
        sha256: of the file, or of the tensors where they came from a run.
        record: who was learned from: "dataset" (name, and for synthetic subjects seed and variety), "train" and "test"
            (subject ids); empty where nobody wrote it down.
    """

    tensors: Mapping[str, np.ndarray]
    source: str
    sha256: str
    record: Mapping[str, Any]

    def apply(self, model: AFNet) -> None:
        """Starts a network from these weights, in place; what does not fit stays as it is."""
        for prefix, kind in _KINDS.items():
            state = nnx.to_flat_state(nnx.state(model, kind))
            for path, variable in state:
                tensor = self.tensors.get(_name(prefix, path))
                if tensor is not None and tensor.shape == variable.shape:
                    variable[...] = jnp.asarray(tensor, variable.dtype)
            nnx.update(model, nnx.from_flat_state(state))

    def fit(self, params: Mapping, batch_stats: Mapping) -> Fit:
        """Tells what a network of these parameters and statistics, or shapes of them, takes.

        Raises:
            WeightsError: nothing fits.
        """
        wanted = {name: tuple(leaf.shape) for name, leaf in flatten(params, batch_stats).items()}
        taken = [name for name, shape in wanted.items() if name in self.tensors and self.tensors[name].shape == shape]
        own = tuple(_parts(name for name in wanted if name not in taken))
        unused = tuple(_parts(self.tensors.keys() - set(taken)))
        if not taken:
            raise WeightsError(
                f"{self.source}: of its {len(self.tensors)} tensors none fits this network; expected paths such as "
                f"{next(iter(wanted))}, found {next(iter(self.tensors), 'none')}"
            )
        return Fit(len(taken), len(wanted), own, unused)


@dataclasses.dataclass(frozen=True)
class Fit:
    """Lists what a network takes of weights.

    Attributes:
        taken, wanted: tensors that it takes, and that it has.
        fresh: parts of the network that start as they would without them.
        unused: parts of the weights that it has no use for.
    """

    taken: int
    wanted: int
    fresh: tuple[str, ...]
    unused: tuple[str, ...]

    def __str__(self) -> str:
        """One line for the log."""
        told = f"{self.taken} of {self.wanted} tensors are taken"
        if self.fresh:
            told += f"; not there or of another shape, and so begun afresh: {', '.join(self.fresh)}"
        if self.unused:
            told += f"; not used: {', '.join(self.unused)}"
        return told


def flatten(params: Mapping, batch_stats: Mapping) -> dict[str, Any]:
    """Weights by name, "params.trunks.texture.conv1.kernel" and so on."""
    leaves = jax.tree_util.tree_leaves_with_path({"params": params, "batch_stats": batch_stats})
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def weights_of(params: Mapping, batch_stats: Mapping, source: str, record: Mapping[str, Any]) -> StartingWeights:
    """Returns a trained network's weights, nested dicts of arrays, to start another from."""
    tensors = {name: np.asarray(leaf, np.float32) for name, leaf in flatten(params, batch_stats).items()}
    parts = [part for name in sorted(tensors) for part in (name, tensors[name])]
    return StartingWeights(tensors, source, digest_of(*parts), record)


def save_weights(weights: StartingWeights, path: Path, dtype: str = "bfloat16") -> str:
    """Writes weights as a safetensors file, parameters as `dtype` and statistics as float32; returns its SHA-256.

    Raises:
        WeightsError: it cannot be written.
    """
    from safetensors.flax import save

    tensors = {
        name: jnp.asarray(tensor, dtype if name.startswith("params.") else jnp.float32)
        for name, tensor in weights.tensors.items()
    }
    metadata = {_RECORD: json.dumps(dict(weights.record))}  # and not the source, a path of one machine
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_bytes_atomically(path, save(tensors, metadata))
    except OSError as error:
        raise WeightsError(f"{path}: cannot be written ({error.strerror})") from error
    return digest_of_file(path)


def load_weights(path: Path) -> StartingWeights:
    """Loads a file of `save_weights`.

    Raises:
        WeightsError: missing, damaged, of other numbers, not finite, or with a damaged record.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "flax") as file:
            names = file.keys()
            tensors = {name: np.asarray(file.get_tensor(name).astype(jnp.float32)) for name in names}
            record = json.loads((file.metadata() or {}).get(_RECORD, "{}"))
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"{path}: expected a whole safetensors file of weights, found {in_one_line(error)[:160]}"
        ) from error
    if bad := [name for name, tensor in tensors.items() if not np.isfinite(tensor).all()]:
        raise WeightsError(f"{path}: tensor {bad[0]}: expected finite values")
    if not _is_record(record):
        raise WeightsError(
            f"{path}: its record of whom it was trained on (metadata {_RECORD!r}) is damaged; export the weights again"
        )
    return StartingWeights(tensors, str(path), digest_of_file(path), record)


def _is_record(record: Any) -> bool:
    """Tells whether a record is one of `StartingWeights`, and so is that of the weights that these started from."""
    if not isinstance(record, dict) or ("earlier" in record and not _is_record(record["earlier"])):
        return False
    if not record.get("dataset"):
        return True
    subjects = [record.get(part) for part in ("train", "test")]
    named = all(isinstance(ids, list) and all(isinstance(each, str) for each in ids) for ids in subjects)
    return named and isinstance(record["dataset"], dict)


def _name(prefix: str, path: tuple) -> str:
    return ".".join((prefix, *map(str, path)))


def _parts(names) -> list[str]:
    """The parts of a network that tensors belong to, "head.texture" and so on, each once."""
    return sorted({".".join(name.split(".")[1:3]) for name in names})
