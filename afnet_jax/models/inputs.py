"""The network's door: bytes and millimetres become the normalised images that ImageNet weights expect."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from afnet_jax.maps import Maps
from afnet_jax.models.architecture import Architecture

# Mean and standard deviation of ImageNet's RGB in [0, 1], as in torchvision.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_images(architecture: Architecture, maps: Maps, dtype) -> dict[str, jax.Array]:
    """Returns the images of each modality that is used: (N, H, W, 3) of `dtype`."""
    wide = jnp.promote_types(dtype, jnp.float32)
    images = {}
    if "texture" in architecture.modalities:
        images["texture"] = _standardise(maps.texture.astype(wide) / 255, dtype)
    if "depth" in architecture.modalities:
        images["depth"] = _standardise(depth_to_grey(maps.depth.astype(wide), architecture.depth_range_mm), dtype)
    return images


def depth_to_grey(depth: jax.Array, range_mm: tuple[float, float]) -> jax.Array:
    """mm -> [0, 1]: linear over `range_mm`, clipped beyond, 0 where there is no face (NaN)."""
    low, high = range_mm
    grey = jnp.clip((depth - low) / (high - low), 0, 1)
    return jnp.where(jnp.isnan(depth), 0, grey)


def _standardise(images: jax.Array, dtype) -> jax.Array:
    """RGB or grey in [0, 1] -> (…, 3), grey repeated, of mean 0 and deviation 1 over ImageNet."""
    return ((images - jnp.array(IMAGENET_MEAN, images.dtype)) / jnp.array(IMAGENET_STD, images.dtype)).astype(dtype)
