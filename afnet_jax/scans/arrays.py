"""The arrays that a reader returns: brought to the types that Scan promises, or refused in a line that says why."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np

from afnet_jax.scans.images import over_black
from afnet_jax.scans.scan import Scan, ScanError


def with_checked_arrays(scan: Scan) -> Scan:
    """Returns the scan with arrays of Scan's shapes and types; grey textures become RGB, transparent ones opaque.

    Raises:
        ScanError: names the field, what was expected and what was found.
    """
    points = _numbers(scan, "points", 3, "x y z in mm").astype(np.float64)
    triangles = _indices(scan, "triangles", "point", len(points))
    uv = _numbers(scan, "uv", 2, "u v")
    uv_triangles = _indices(scan, "uv_triangles", "texture point", len(uv))
    if len(triangles) != len(uv_triangles):
        found = f"{len(uv_triangles)} uv_triangles beside {len(triangles)} triangles"
        raise fault(scan, f"{found}, expected one for each; give the corners' texture points triangle by triangle")
    return dataclasses.replace(
        scan,
        points=points,
        triangles=triangles,
        uv=uv,
        uv_triangles=uv_triangles,
        texture=_texture(scan),
        landmarks=_landmarks(scan),
        grid=None if scan.grid is None else _grid(scan, len(points)),
    )


def fault(scan: Scan, reason: str) -> ScanError:
    """Returns the error of a scan: its file, or its name where it comes from none, and the reason."""
    return ScanError(scan.path or scan.id.name, reason)


def with_remarks(error: ScanError, scan: Scan) -> ScanError:
    """Returns the error of a scan together with what looked odd when it was read, which may be its cause."""
    if not scan.remarks:
        return error
    return ScanError(error.path, f"{error.fault} (noticed when it was read: {'; '.join(scan.remarks)})")


def _array(scan: Scan, field: str, kinds: str, expected: str) -> np.ndarray:
    try:
        array = np.asarray(getattr(scan, field))
    except ValueError:  # lists of unequal lengths
        raise fault(scan, f"{field}: expected {expected}, found lists of unequal lengths") from None
    if array.dtype.kind not in kinds:
        raise fault(scan, f"{field}: expected {expected}, found {_kind(array)}")
    return array


def _kind(array: np.ndarray) -> str:
    return f"{array.dtype} of shape {array.shape}"


def _numbers(scan: Scan, field: str, columns: int, what: str) -> np.ndarray:
    expected = f"(N, {columns}) numbers, {what}"
    array = _array(scan, field, "fiu", expected)
    if array.ndim != 2 or array.shape[1] != columns or not len(array):
        raise fault(scan, f"{field}: expected {expected}, found {_kind(array)}")
    return array


def _indices(scan: Scan, field: str, what: str, count: int) -> np.ndarray:
    expected = "(T, 3) whole numbers"
    array = _array(scan, field, "iu", expected)
    if array.ndim != 2 or array.shape[1] != 3:
        remedy = "; split each quad a b c d into a b c and a c d" if array.shape[1:] == (4,) else ""
        raise fault(scan, f"{field}: expected {expected}, found {_kind(array)}{remedy}")
    if not len(array):
        raise fault(scan, f"the mesh has no triangle: {field} is empty")
    low, high = int(array.min()), int(array.max())
    if low < 0 or high >= count:
        remedy = "; they seem to count from 1: subtract 1" if (low, high) == (1, count) else ""
        found = f"{what}s {low} to {high}"
        raise fault(scan, f"{field} names {found}, expected 0 to {count - 1}, as there are {count}{remedy}")
    return array.astype(np.int32)


def _texture(scan: Scan) -> np.ndarray:
    expected = "(H, W, 3) uint8 RGB"
    array = _array(scan, "texture", "fiub", expected)
    if array.dtype != np.uint8:
        raise fault(scan, f"texture: expected {expected}, found {_kind(array)}{_remedy(array)}")
    if array.ndim == 2 or array.shape[2:] == (1,):
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or min(array.shape[:2]) < 2:
        raise fault(scan, f"texture: expected {expected} of at least 2×2 pixels, found {_kind(array)}")
    return over_black(array) if array.shape[2] == 4 else np.ascontiguousarray(array)


def _remedy(texture: np.ndarray) -> str:
    if not texture.size or not np.isfinite(texture).all():
        return ""
    low, high = texture.min(), texture.max()
    scale = {"u": " / 257" if high > 255 else "", "f": " * 255" if high <= 1 else ""}.get(texture.dtype.kind, "")
    return f", values {low:g} to {high:g}; give np.round(texture{scale}).astype(np.uint8)"


def _landmarks(scan: Scan) -> dict[str, np.ndarray]:
    if not isinstance(scan.landmarks, Mapping):
        raise fault(scan, f"landmarks: expected a dict of name -> x y z, found {type(scan.landmarks).__name__}")
    places = {}
    for name, place in scan.landmarks.items():
        try:
            places[str(name)] = np.asarray(place, np.float64).reshape(3)
        except (TypeError, ValueError):
            raise fault(
                scan, f"landmark {name}: expected three numbers x y z, found {' '.join(repr(place).split()):.60}"
            ) from None
    return places


def _grid(scan: Scan, count: int) -> np.ndarray:
    expected = f"(rows, cols) indices of points, -1 to {count - 1}"
    array = _array(scan, "grid", "iu", expected)
    if array.ndim != 2 or not array.size or array.min() < -1 or array.max() >= count:
        raise fault(scan, f"grid: expected {expected}, found {_kind(array)}")
    return array.astype(np.int32)
