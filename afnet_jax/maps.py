"""Defines each input map of the network once, and the batch that holds them all.

A new input is a new field of `Maps`. From its `InputMap` follow its field in a record, its array's shape, how it is
reduced, mirrored and shifted, and how an exported program describes it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Annotated, Any, NamedTuple, get_type_hints

IMAGE_SIZE = 224  # edge in pixels of the images that preprocessing draws and a record holds

Array = Any  # of NumPy or of JAX, or the shape of one


@dataclasses.dataclass(frozen=True)
class InputMap:
    """One of the network's inputs.

    Attributes:
        content: what it shows.
        channels: values of a pixel.
        scale: its edge as a fraction of the image's edge.
        dtype: in memory.
        outside: value outside the face.
        record: its field in a record of a data set; "" for a map that is computed from others when they are read
            (preprocessing/computed.py), and only where a network sees it.
        odd: channels whose sign a mirror changes.
    """

    content: str
    channels: int
    scale: float
    dtype: str
    outside: float
    record: str = ""
    odd: tuple[int, ...] = ()

    def edge(self, size: int) -> int:
        """Pixels along its edge where the images' edge is `size`."""
        return int(size * self.scale)

    def shape(self, size: int) -> tuple[int, int, int]:
        """(height, width, channels) where the images' edge is `size`."""
        return self.edge(size), self.edge(size), self.channels


class Maps(NamedTuple):
    """The network's inputs for N scans, (N, edge, edge, channels) each; or for one scan, without the first axis."""

    texture: Annotated[Array, InputMap("RGB, row 0 at the forehead, 0 outside the face", 3, 1, "uint8", 0, "texture")]
    depth: Annotated[
        Array,
        InputMap("mm along the canonical z axis, NaN outside the face", 1, 1, "float16", float("nan"), "depth"),
    ]
    mask1: Annotated[
        Array, InputMap("salient regions in [0, 1], a quarter of the edge", 1, 1 / 4, "float16", 0, "mask56")
    ]
    mask2: Annotated[
        Array, InputMap("salient regions in [0, 1], an eighth of the edge", 1, 1 / 8, "float16", 0, "mask28")
    ]
    normals: Annotated[
        Array, InputMap("unit normals of the surface (x right, y up, z to the camera)", 3, 1, "float16", 0, odd=(0,))
    ] = None


INPUT_MAPS: dict[str, InputMap] = {
    name: hint.__metadata__[0] for name, hint in get_type_hints(Maps, include_extras=True).items()
}


def maps_of(modalities: Collection[str]) -> dict[str, InputMap]:
    """Returns the maps that a network of these modalities takes: those of a record always, others where it sees them.

    It may ignore some of a record's: all networks are called, and exported, alike.
    """
    return {name: each for name, each in INPUT_MAPS.items() if each.record or name in modalities}


class Clouds(NamedTuple):
    """Raw points of N scans, from which maps are rendered within a program (`points/`); P points of each.

    Canonical mm of a point are rotation @ point + offset.

    Attributes:
        points: (N, P, 3) mm, NaN where there is no point; their order tells nothing.
        colours: (N, P, 3) uint8 RGB.
        rotation: (N, 3, 3) float32.
        offset: (N, 3) float32 mm.
        landmarks: (N, 22, 3) float32 canonical mm in the order of LANDMARKS, NaN where there is none of that name.
    """

    points: Array
    colours: Array
    rotation: Array
    offset: Array
    landmarks: Array


class Faces(NamedTuple):
    """N scans to learn from.

    Attributes:
        maps: the network's inputs, or the clouds of points that they are rendered from.
        labels: (N,) int32, index into EXPRESSIONS.
    """

    maps: Maps | Clouds
    labels: Array
