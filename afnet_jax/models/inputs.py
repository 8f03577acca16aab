"""The network's inputs: bytes and millimetres become the normalised images that ImageNet weights expect."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from afnet_jax.errors import DatasetError
from afnet_jax.maps import INPUT_MAPS, Maps
from afnet_jax.models.architecture import Architecture

# Mean and standard deviation of ImageNet's RGB in [0, 1], as in torchvision.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_images(architecture: Architecture, maps: Maps, dtype) -> dict[str, jax.Array]:
    """Returns the images of each modality that is used: (N, H, W, 3) of `dtype`.

    Raises:
        DatasetError: one of them is missing.
    """
    wide = jnp.promote_types(dtype, jnp.float32)
    images = {}
    for name in architecture.modalities:
        if (seen := getattr(maps, name)) is None:
            raise DatasetError(
                f"the network sees {name}, and the maps have none: load the data set for config.model.modalities"
            )
        images[name] = _standardise(TO_GREY_OR_RGB[name](seen.astype(wide), architecture), dtype)
    return images


def mirrored(maps: Maps) -> Maps:
    """Returns the maps of N scans as a mirror shows them: left is right, and vectors point the other way across."""

    def of_one(name: str, m: jax.Array) -> jax.Array:
        turned = m[:, :, ::-1]
        odd = INPUT_MAPS[name].odd
        return turned.at[..., odd].multiply(-1) if odd else turned

    return maps._replace(**{name: of_one(name, m) for name, m in maps._asdict().items() if m is not None})


def _depth_to_grey(depth: jax.Array, architecture: Architecture) -> jax.Array:
    """mm -> [0, 1]: linear over depth_range_mm, clipped beyond, 0 where there is no face (NaN)."""
    low, high = architecture.depth_range_mm
    grey = jnp.clip((depth - low) / (high - low), 0, 1)
    return jnp.where(jnp.isnan(depth), 0, grey)


# Modality -> what makes grey or RGB in [0, 1] of its map.
TO_GREY_OR_RGB: dict[str, Callable[[jax.Array, Architecture], jax.Array]] = {
    "texture": lambda texture, _: texture / 255,
    "depth": _depth_to_grey,
    "normals": lambda normals, _: (normals + 1) / 2,
}


def _standardise(images: jax.Array, dtype) -> jax.Array:
    """RGB or grey in [0, 1] -> (…, 3), grey repeated, of mean 0 and deviation 1 over ImageNet."""
    return ((images - jnp.array(IMAGENET_MEAN, images.dtype)) / jnp.array(IMAGENET_STD, images.dtype)).astype(dtype)
