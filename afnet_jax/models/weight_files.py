"""Published ResNet18 weights -> tensors under this project's names, every one checked.

Read are torchvision's and timm's names (`layer1.0.conv1.weight`) and transformers' (`resnet.encoder.stages.0.…`), from
`.safetensors` and from PyTorch's zip and legacy pickle files. No code that a pickle may carry is ever run.
"""

from __future__ import annotations

import functools
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax import nnx

from afnet_jax.errors import WeightsError, in_one_line
from afnet_jax.models.batch_norm import BatchNorm
from afnet_jax.models.convolution import Conv
from afnet_jax.models.resnet import ResNet18
from afnet_jax.sha256 import digest_of_file

_CLASSIFIER = re.compile(r"(fc|classifier\.1)\.(weight|bias)")
_COUNTER = "num_batches_tracked"  # PyTorch's count of training batches, which nothing here needs

# transformers' names -> torchvision's; a block's two layers are counted from 0 there and from 1 here.
_STEM = re.compile(r"(?:resnet\.)?embedder\.embedder\.(convolution|normalization)\.(\w+)")
_BLOCK = re.compile(
    r"(?:resnet\.)?encoder\.stages\.(\d)\.layers\.(\d)\.(shortcut|layer\.(\d))\.(convolution|normalization)\.(\w+)"
)
# torchvision's last part of a name -> this project's, for a batch normalisation.
_NORM = {"weight": "scale", "bias": "bias", "running_mean": "mean", "running_var": "var"}


def read_weights(path: Path) -> dict[str, np.ndarray]:
    """A file of ResNet18 weights -> float32 arrays by name, `layer1.0.conv1.kernel` (HWIO), `bn1.scale`, `bn1.mean`, ….

    Raises:
        WeightsError: no such file, damaged, of another network, not finite, or PyTorch is needed and missing.
    """
    tensors = {}
    for name, tensor in _read_tensors(path).items():
        ours = our_name(name)
        if ours is None:
            continue
        if ours in tensors:
            raise WeightsError(f"{path}: tensor {name}: expected once, found under two names")
        tensors[ours] = tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor
    check_tensors(path, tensors)
    return {name: np.ascontiguousarray(tensor, np.float32) for name, tensor in tensors.items()}


def our_name(name: str) -> str | None:
    """Published name of a tensor -> this project's; None for the classifier and for PyTorch's batch counters."""
    if _CLASSIFIER.fullmatch(name) or name.endswith(_COUNTER):
        return None
    *layer, last = _torchvision_name(name).split(".")
    if layer[-2:-1] == ["downsample"]:
        layer[-2:] = ["downsample_conv" if layer[-1] == "0" else "downsample_bn"]
    is_norm = bool(layer) and "bn" in layer[-1]
    return ".".join([*layer, _NORM.get(last, last) if is_norm else {"weight": "kernel"}.get(last, last)])


@functools.cache
def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Shape of each tensor of a trunk that takes three channels, by name."""
    trunk = nnx.eval_shape(lambda: ResNet18(3, conv=functools.partial(Conv, rngs=nnx.Rngs(0)), norm=BatchNorm))
    return {".".join(map(str, path)): leaf.shape for path, leaf in nnx.to_flat_state(nnx.state(trunk))}


def check_tensors(source: Path, tensors: Mapping[str, np.ndarray]) -> None:
    """Refuses tensors that are not exactly those of a ResNet18 trunk, with the first fault found.

    Raises:
        WeightsError: naming the file, the tensor, what was expected and what was found.
    """
    expected = expected_shapes()
    for name, shape in expected.items():
        if name not in tensors:
            raise WeightsError(f"{source}: tensor {name}: expected {shape} as in ResNet18, found none")
        found = tensors[name]
        if found.shape != shape:
            raise WeightsError(f"{source}: tensor {name}: expected {shape} as in ResNet18, found {found.shape}")
        if not jnp.issubdtype(found.dtype, jnp.floating):
            raise WeightsError(f"{source}: tensor {name}: expected floating-point numbers, found {found.dtype}")
        if not np.isfinite(found).all():
            raise WeightsError(
                f"{source}: tensor {name}: expected finite values, found {np.sum(~np.isfinite(found))} that are not"
            )
        if name.endswith(".var") and found.min() < 0:
            raise WeightsError(f"{source}: tensor {name}: expected variances, found {found.min()}")
    if surplus := sorted(tensors.keys() - expected.keys()):
        raise WeightsError(f"{source}: tensor {surplus[0]}: expected none of this name in ResNet18, found one")


def _torchvision_name(name: str) -> str:
    if stem := _STEM.fullmatch(name):
        return f"{'conv1' if stem[1] == 'convolution' else 'bn1'}.{stem[2]}"
    if block := _BLOCK.fullmatch(name):
        stage, index, part, layer, kind, last = block.groups()
        if part == "shortcut":
            inner = f"downsample.{0 if kind == 'convolution' else 1}"
        else:
            inner = f"{'conv' if kind == 'convolution' else 'bn'}{int(layer) + 1}"
        return f"layer{int(stage) + 1}.{index}.{inner}.{last}"
    return name


def _read_tensors(path: Path) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise WeightsError(f"{path}: expected a file of ResNet18 weights (.pth or .safetensors), found none")
    # torchvision writes the first digits of the digest into the name: resnet18-f37072fd.pth.
    if (stated := re.search("^resnet18-(f37072fd|5c106cde)", path.stem)) and not digest_of_file(path).startswith(
        stated[1]
    ):
        raise WeightsError(
            f"{path}: expected a SHA-256 that begins with {stated[1]} as in its name, "
            f"found {digest_of_file(path)[: len(stated[1])]}: fetch it anew"
        )
    with open(path, "rb") as file:
        # A safetensors file is the length of its header in eight bytes, then the header in JSON.
        is_safetensors = path.suffix == ".safetensors" or file.read(9)[8:] == b"{"
    return _read_safetensors(path) if is_safetensors else _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    import safetensors.numpy

    try:
        return safetensors.numpy.load_file(path)
    except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise WeightsError(f"{path}: expected a whole safetensors file, found {_brief(error)}") from error


def _read_pickle(path: Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise WeightsError(
            f"{path}: PyTorch is needed to read this format and is not installed: "
            f"pip install torch, or take the same weights as .safetensors"
        ) from error
    _refuse_inflation(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # weights_only admits tensors and plain containers and runs no code of the file.
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # damaged pickles raise whatever their bytes happen to spell
        raise WeightsError(
            f"{path}: expected a whole file of PyTorch tensors alone; torch.load tells {_brief(error)}"
        ) from error
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    if not isinstance(loaded, Mapping) or not all(isinstance(value, torch.Tensor) for value in loaded.values()):
        raise WeightsError(f"{path}: expected a dictionary of tensors (a state_dict), found {type(loaded).__name__}")
    for name, tensor in loaded.items():
        # A view with strides of 0 claims any number of elements; turned into an array, it would fill the memory.
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.numel() > path.stat().st_size:
            found = tuple(tensor.shape)
            raise WeightsError(f"{path}: tensor {name}: expected plain numbers that the file holds, found {found}")
    return {str(name): _to_numpy(tensor) for name, tensor in loaded.items()}


def _refuse_inflation(path: Path) -> None:
    """Refuses compressed parts, which torch.save does not write and which may expand to any size."""
    try:
        if not zipfile.is_zipfile(path):
            return
        with zipfile.ZipFile(path) as archive:
            claimed = sum(part.file_size for part in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError, struct.error, OSError) as error:
        raise WeightsError(f"{path}: expected a whole file of PyTorch tensors, found {_brief(error)}") from error
    if claimed > path.stat().st_size:
        raise WeightsError(f"{path}: expected a file of PyTorch tensors, found one that unfolds to {claimed:,} bytes")


def _to_numpy(tensor) -> np.ndarray:
    """Converts a tensor; bfloat16 too, which NumPy lacks."""
    return (tensor.detach().float() if tensor.is_floating_point() else tensor.detach()).numpy()


def _brief(error: Exception) -> str:
    return in_one_line(error)[:200]
