"""The maps of a face at the network's size and types, from those that preprocessing draws."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from PIL import Image

from afnet_jax.maps import IMAGE_SIZE, InputMap, Maps, maps_of
from afnet_jax.preprocessing.computed import COMPUTED


def reduce_maps(
    drawn: Mapping[str, np.ndarray], mm_per_pixel: float, size: int, modalities: Collection[str] = ()
) -> Maps:
    """Returns the maps of one face at the network's size and types, by the mean over each new pixel's area.

    A pixel of a map with NaN outside the face is the mean of the face within it, and face where at least half of it is.

    Args:
        drawn: the maps of a record by their names; without an axis of channels where there is one.
        mm_per_pixel: edge of their images' pixels.
        size: edge of the images, pixels.
        modalities: config.model.modalities.
    """
    wanted = maps_of(modalities)
    maps = {n: area_mean(drawn[n], each.edge(size), each.outside) for n, each in wanted.items() if each.record}
    for name in wanted.keys() - maps.keys():
        maps[name] = COMPUTED[name](maps, mm_per_pixel * IMAGE_SIZE / size)
    return Maps(**{name: _as_kept(maps[name], size, each) for name, each in wanted.items()})


def stack(faces: Sequence[Maps]) -> Maps:
    """Returns the maps of several faces, stacked on axis 0."""
    columns = zip(*faces, strict=True)
    return Maps(*(None if column[0] is None else np.stack(column) for column in columns))


def _as_kept(image: np.ndarray, size: int, each: InputMap) -> np.ndarray:
    return image.astype(each.dtype).reshape(each.shape(size))


def area_mean(image: np.ndarray, edge: int, outside: float) -> np.ndarray:
    """Returns an image of fewer pixels, each the mean of those that it covers.

    Args:
        image: (S, S) float32, or (S, S, channels) uint8.
        edge: of the new one, at most S.
        outside: the map's value outside the face; where it is NaN, see `reduce_maps`.
    """
    if image.shape[0] == edge:
        return image
    if not np.isnan(outside):
        return np.asarray(Image.fromarray(image).resize((edge, edge), Image.Resampling.BOX))
    share = area_mean(np.isfinite(image).astype(np.float32), edge, 0)
    inside = area_mean(np.nan_to_num(image), edge, 0) / np.maximum(share, 0.5)
    return np.where(share >= 0.5, inside, np.nan)
