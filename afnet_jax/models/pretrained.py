"""ImageNet weights for the trunks: from a file, from a ported folder, or downloaded once."""

from __future__ import annotations

import dataclasses
import json
import logging
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from afnet_jax.errors import WeightsError
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.weight_files import check_tensors, expected_shapes, read_weights
from afnet_jax.paths import user_path
from afnet_jax.sha256 import digest_of, digest_of_file

# torchvision's ResNet18 of 2016, the one that PyTorch gave when the paper was written, as timm publishes it.
IMAGENET_REPO, IMAGENET_FILE = "timm/resnet18.tv_in1k", "model.safetensors"

_ARRAYS, _DIGESTS = "weights", "digests.json"  # what a ported folder holds


@dataclasses.dataclass(frozen=True)
class PretrainedTrunk:
    """Weights of one ResNet18 trunk.

    Attributes:
        tensors: float32 arrays by name, see `weight_files.read_weights`.
    """

    tensors: Mapping[str, np.ndarray]

    @property
    def sha256(self) -> str:
        """Digest of all names and values, for a run's record: the same whichever file they were read from."""
        return digest_of(*(name + _tensor_digest(self.tensors[name]) for name in sorted(self.tensors)))

    def apply(self, model: AFNet) -> None:
        """Starts every trunk of a network from these weights, in place: all trunks from the same.

        A trunk that takes several modalities (S1) has three input channels for each: its stem starts from the weights
        of three, repeated and divided by their number, so that equal images excite it as one excites the original.
        """
        for trunk in model.trunks.values():
            state = nnx.to_flat_state(nnx.state(trunk))
            for path, variable in state:
                tensor = jnp.asarray(self.tensors[".".join(map(str, path))])
                if variable.shape != tensor.shape:
                    times = variable.shape[2] // tensor.shape[2]
                    tensor = jnp.concatenate([tensor] * times, axis=2) / times
                variable[...] = tensor
            nnx.update(trunk, nnx.from_flat_state(state))


def load_pretrained(source: str | Path) -> PretrainedTrunk | None:
    """Loads the weights that `config.model.pretrained` names: "none", "imagenet", a folder by `save_ported`, or a file.

    Returns:
        The weights; None for "none".

    Raises:
        WeightsError: missing, damaged or of another network, or no way to download them.
    """
    if source == "none":
        return None
    if source == "imagenet":
        return PretrainedTrunk(read_weights(_download_imagenet()))
    path = user_path(source)
    return _load_ported(path) if path.is_dir() else PretrainedTrunk(read_weights(path))


def save_ported(weights: str | Path, out: str | Path) -> PretrainedTrunk:
    """Writes a file of published weights as an orbax checkpoint with a digest per tensor, for `load_pretrained`.

    Raises:
        WeightsError: the file is not one of ResNet18, `out` already holds something, or there is no space for it.
    """
    import orbax.checkpoint as ocp

    weights, out = user_path(weights), user_path(out)
    tensors = read_weights(weights)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise WeightsError(f"{out}: expected a new or empty folder, found something there: remove it or name another")
    out.mkdir(parents=True, exist_ok=True)
    needed = sum(tensor.nbytes for tensor in tensors.values())
    if shutil.disk_usage(out).free < needed:  # Orbax would tell it in dozens of tracebacks, and leave a part there
        raise WeightsError(f"{out}: no space left on the disk for {needed / 1e6:.0f} MB of weights; make room there")
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(out.resolve() / _ARRAYS, tensors)
    record = {
        "source": weights.name,
        "source_sha256": digest_of_file(weights),
        "tensors": {name: _tensor_digest(tensor) for name, tensor in tensors.items()},
    }
    (out / _DIGESTS).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return PretrainedTrunk(tensors)


def _load_ported(folder: Path) -> PretrainedTrunk:
    import orbax.checkpoint as ocp

    try:
        record = json.loads((folder / _DIGESTS).read_text(encoding="utf-8"))
        digests = dict(record["tensors"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f"{folder}: expected a folder written by afnet port-imagenet, found no readable {_DIGESTS} in it"
        ) from error
    abstract = {name: np.zeros(shape, np.float32) for name, shape in expected_shapes().items()}
    try:
        with ocp.StandardCheckpointer() as checkpointer:
            tensors = checkpointer.restore(folder.resolve() / _ARRAYS, abstract)
    except Exception as error:  # orbax and tensorstore raise many kinds for damaged files
        reason = " ".join(str(error).split())[:160]
        raise WeightsError(f"{folder}: expected a whole checkpoint, found {reason}: port the weights anew") from error
    tensors = {name: np.asarray(tensor) for name, tensor in tensors.items()}
    for name, tensor in tensors.items():
        if (found := _tensor_digest(tensor)) != digests.get(name):
            raise WeightsError(
                f"{folder}: tensor {name}: expected SHA-256 {digests.get(name)}, found {found}: port the weights anew"
            )
    check_tensors(folder, tensors)
    return PretrainedTrunk(tensors)


def _tensor_digest(tensor: np.ndarray) -> str:
    return digest_of(np.asarray(tensor, "<f4"))


def _download_imagenet() -> Path:
    """The published file in huggingface_hub's cache, downloaded if it is not there, with its digest checked."""
    import huggingface_hub

    try:
        path = _cached_imagenet() or _fetched_imagenet()
        published = _published_digest(path)
    except (OSError, huggingface_hub.errors.HfHubHTTPError) as error:
        raise WeightsError(
            f"pretrained='imagenet': {IMAGENET_FILE} of {IMAGENET_REPO} is not in the cache and cannot be downloaded "
            f"({type(error).__name__}): fetch it, or torchvision's resnet18-f37072fd.pth, on another machine and give "
            f"the file's path as config.model.pretrained; none starts from random weights"
        ) from error
    if (found := digest_of_file(path)) != published:
        raise WeightsError(
            f"{path}: expected the published SHA-256 {published}, found {found}: delete it and run again"
        )
    return path


def _cached_imagenet() -> Path | None:
    """The published file where an earlier run has left it: asking for it by name would try the network first."""
    import huggingface_hub

    cached = huggingface_hub.try_to_load_from_cache(IMAGENET_REPO, IMAGENET_FILE)
    return Path(cached) if isinstance(cached, str) else None


def _fetched_imagenet() -> Path:
    import huggingface_hub

    print(f"downloading {IMAGENET_FILE} of {IMAGENET_REPO}, 47 MB, once …", file=sys.stderr, flush=True)
    logger = logging.getLogger("huggingface_hub")  # it tells of each of its tries; the fault is told in one line
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        return Path(huggingface_hub.hf_hub_download(IMAGENET_REPO, IMAGENET_FILE))
    finally:
        logger.setLevel(level)


def _published_digest(path: Path) -> str:
    """SHA-256 that the hub states for the file: the name of the cached blob, or else asked for."""
    import huggingface_hub

    if re.fullmatch("[0-9a-f]{64}", blob := path.resolve().name):
        return blob
    stated = huggingface_hub.get_hf_file_metadata(huggingface_hub.hf_hub_url(IMAGENET_REPO, IMAGENET_FILE)).etag
    if stated is None:
        raise WeightsError(f"{path}: the hub states no SHA-256 to check it by: give a file as config.model.pretrained")
    return stated
