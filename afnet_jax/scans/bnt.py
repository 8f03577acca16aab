"""Bosphorus' range grids (.bnt): five planes of float64 behind a small header, little endian."""

from __future__ import annotations

import dataclasses
import struct
from pathlib import Path

import numpy as np

from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.scan import ScanError

BACKGROUND = -1e9
MAX_BYTES = 64 * 2**20  # true files have about 2 MB


@dataclasses.dataclass(frozen=True)
class RangeGrid:
    """A face on a sensor's grid. Row 0 is the BOTTOM of the face.

    Attributes:
        xyz: (3, rows, cols) float64 mm; meaningless where `surface` is False.
        u, v: (rows, cols) float64 place in the picture: column u·W, row v·H, v from the top; also off the surface.
        surface: (rows, cols) bool, False on background.
        picture: the picture's file name as the header gives it.
    """

    xyz: np.ndarray
    u: np.ndarray
    v: np.ndarray
    surface: np.ndarray
    picture: str


def read_grid(path: Path) -> RangeGrid:
    """Reads a range grid.

    Raises:
        ScanError: the file is missing, not of this format, or its counts do not agree with its size.
    """
    data = read_bytes(path, MAX_BYTES, "range grid")
    try:
        rows, cols, _, name_length = struct.unpack_from("<HHdH", data)
        name, count = struct.unpack_from(f"<{name_length}sI", data, 14)
    except struct.error:
        raise ScanError(path, f"not a .bnt range grid: {len(data)} bytes are too few for its header") from None
    expected = 18 + name_length + 40 * rows * cols
    if min(rows, cols) < 2 or count != 5 * rows * cols or len(data) != expected:
        fault = f"header says {rows}×{cols} points and {count} values, which takes {expected} bytes; found {len(data)}"
        raise ScanError(path, f"{fault}: not a .bnt range grid, or cut short; copy it again")
    planes = np.frombuffer(data, "<f8", offset=18 + name_length).reshape(5, rows, cols).astype(np.float64)
    return RangeGrid(planes[:3], planes[3], planes[4], _surface(planes[:3]), name.decode("latin-1"))


def _surface(xyz: np.ndarray) -> np.ndarray:
    """Returns the mask of surface points; background is -1e9 in x, y and z, or 0 in some redistributions, or NaN."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(xyz).all(axis=0) & (xyz > BACKGROUND / 2).all(axis=0) & (xyz != 0).any(axis=0)


def write_grid(path: Path, grid: RangeGrid) -> None:
    """Writes a range grid; background becomes -1e9 in x, y and z."""
    rows, cols = grid.u.shape
    planes = np.concatenate([np.where(grid.surface, grid.xyz, BACKGROUND), [grid.u, grid.v]])
    name = grid.picture.encode("ascii")
    header = struct.pack("<HHdH", rows, cols, BACKGROUND, len(name)) + name + struct.pack("<I", planes.size)
    path.write_bytes(header + planes.astype("<f8").tobytes())
