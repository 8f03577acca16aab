"""STL, binary and ascii (3D Systems, StereoLithography Interface Specification, 1989): triangles without colours."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.meshes.surface import MAX_BYTES, MAX_TRIANGLES, MeshError, Part, Surface, as_float64

_RECORD = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attributes", "<u2")])
_HEAD = 84


def read_stl(path: Path) -> Surface:
    """Reads a mesh; corners at the very same place become one point.

    Raises:
        MeshError, ScanError: the file is missing or broken.
    """
    data = read_bytes(path, MAX_BYTES, "STL mesh")
    # The length tells a binary file: its head may begin with "solid", too.
    count = int.from_bytes(data[80:_HEAD], "little")
    if len(data) >= _HEAD and len(data) == _HEAD + count * _RECORD.itemsize:
        corners = as_float64(np.frombuffer(data, _RECORD, offset=_HEAD)["corners"]).reshape(-1, 3)
    elif data.lstrip()[:5].lower() == b"solid":
        corners = _ascii_corners(data)
    else:
        announced = f"expected {_HEAD + count * _RECORD.itemsize:,} bytes for its {count:,} triangles"
        raise MeshError(f"no whole STL file: {announced}, found {len(data):,}; copy it again")
    if not len(corners) or len(corners) > 3 * MAX_TRIANGLES:
        raise MeshError(f"{len(corners) // 3:,} triangles, expected 1 to {MAX_TRIANGLES:,}")
    with np.errstate(invalid="ignore"):
        points, index = np.unique(corners, axis=0, return_inverse=True)
    return Surface(points, (Part(index.reshape(-1, 3)),))


def _ascii_corners(data: bytes) -> np.ndarray:
    """(3 T, 3) corners; every word but numbers is counted, so that a damaged file is not read in part."""
    text = data.lower()
    words = re.findall(rb"vertex\s+(\S+)\s+(\S+)\s+(\S+)", text)
    facets = len(re.findall(rb"endfacet", text))
    if not text.rstrip().startswith(b"solid") or b"endsolid" not in text:
        raise MeshError("the file is cut short: it has no `endsolid`; copy it again")
    if len(words) != 3 * facets or text.count(b"vertex") != len(words):
        raise MeshError(f"{len(words)} corners in {facets} triangles, expected three in each; the file is damaged")
    try:
        return np.array(words, np.float64).reshape(-1, 3)
    except ValueError:
        raise MeshError("a corner holds something that is no number") from None
