"""Checks of a Scan that every reader must pass."""

from __future__ import annotations

import dataclasses
import math

import numpy as np

from afnet_jax.scans.arrays import fault, with_checked_arrays
from afnet_jax.scans.landmark_distance import FURTHEST_MM, distances_to_surface
from afnet_jax.scans.orientation import clockwise_share, front_of, mirrored_share
from afnet_jax.scans.scan import LANDMARKS, Scan

# A face, from the smallest crop of a child to a head with shoulders; in metres or inches it falls far outside.
SMALLEST_FACE_MM, LARGEST_FACE_MM = 60.0, 1000.0
LARGEST_COORDINATE_MM = 1e4
UV_SLACK = 0.05  # texture points may miss the picture by this much; beyond its edge they take the edge's colour
_CAMERA = np.eye(3)
_MOST_SHEETS = 30.0  # times the box round a surface
MIXED = 0.25  # share of the surface seen that may run the other way round than the rest


def validated(scan: Scan) -> Scan:
    """Returns the scan as the rest of the project takes it; what was put right or looks odd is added to its remarks.

    Texture points are clipped to the picture, degenerate triangles are left out, triangles that show the camera
    their back are turned round, and landmarks that nothing uses are left out where they are unfit. Of a scan that is
    not frontal its landmarks tell where the camera would be; without them triangles keep the way they run.

    Args:
        scan: what a reader made.

    Raises:
        ScanError: arrays of other shapes, types or ranges than Scan's; numbers that are not finite or not mm;
            landmarks that do not lie on the surface.
    """
    scan = with_checked_arrays(scan)
    front = _CAMERA if scan.frontal else front_of(scan.landmarks)
    _check_points(scan, front)
    _check_texture_points(scan)
    landmarks, remarks = _fit_landmarks(scan)
    a, b, c = scan.triangles.T
    proper = (a != b) & (b != c) & (c != a)
    if not proper.any():
        raise fault(scan, "the mesh has no triangle, only such as name a point twice")
    _check_area(scan, scan.triangles[proper])
    scan = dataclasses.replace(
        scan,
        triangles=np.ascontiguousarray(scan.triangles[proper], np.int32),
        uv=scan.uv.clip(0, 1).astype(np.float32),
        uv_triangles=np.ascontiguousarray(scan.uv_triangles[proper], np.int32),
        landmarks=landmarks,
        remarks=scan.remarks + remarks,
    )
    if front is None:
        return scan
    scan = _towards_camera(scan, front)
    return _with_right_picture(scan, front) if scan.charted else scan


def _check_points(scan: Scan, front: np.ndarray | None) -> None:
    strange = ~(np.abs(scan.points) <= LARGEST_COORDINATE_MM).all(axis=1)
    if strange.any():
        count = f"{strange.sum()} of {len(strange)} points"
        bound = f"a coordinate is beyond ±{LARGEST_COORDINATE_MM:g} mm or no number"
        far = strange.all() and np.isfinite(scan.points).all()  # in coordinates of a room or a map
        remedy = "move the mesh to the origin" if far else "leave those out, and the triangles that name them"
        raise fault(scan, f"{bound} at {count}; {remedy}")
    # Spikes reach far, a face does not: the middle 98 % of points tell its size.
    sides = scan.points if front is None else scan.points @ front[1][:, None]
    low, high = np.percentile(sides, [1, 99], axis=0)
    height = (high - low).max()
    if not SMALLEST_FACE_MM <= height <= LARGEST_FACE_MM:
        expected = f"{SMALLEST_FACE_MM:g} to {LARGEST_FACE_MM:g} mm"
        raise fault(scan, f"the face is {height:.3g} units high, expected {expected}; convert it to mm")


def _check_area(scan: Scan, triangles: np.ndarray) -> None:
    """Refuses triangles between any points: a face is a sheet or two, and drawing these takes many gigabytes."""
    a, b, c = np.moveaxis(scan.points[triangles], 1, 0)
    area = float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum()) / 2
    x, y, z = np.ptp(scan.points[triangles], axis=(0, 1))
    if area > _MOST_SHEETS * (box := 2 * (x * y + y * z + z * x)):
        times = area / box if box else math.inf
        found = f"its triangles together are {times:.0f} times as large as the box round them"
        raise fault(scan, f"{found}, expected a surface: their indices are damaged")


def _check_texture_points(scan: Scan) -> None:
    if not (np.isfinite(scan.uv).all() and scan.uv.min() >= -UV_SLACK and scan.uv.max() <= 1 + UV_SLACK):
        low, high = np.nanmin(scan.uv), np.nanmax(scan.uv)
        found = f"found {low:.3g} to {high:.3g}" if np.isfinite(scan.uv).all() else "found some that are no number"
        hint = "divide pixels by the picture's width and height" if high > 2 else "the file is damaged"
        raise fault(scan, f"a texture point lies outside the picture, expected 0 to 1, {found}; {hint}")


def _fit_landmarks(scan: Scan) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Returns the usable landmarks, and a remark on unusable ones that are not needed."""
    names = list(scan.landmarks)
    if not names:
        return {}, ()
    gaps = distances_to_surface(scan.points, np.stack([scan.landmarks[name] for name in names]))
    unfit = {name: gap for name, gap in zip(names, gaps, strict=True) if not gap <= FURTHEST_MM}
    if used := {name: gap for name, gap in unfit.items() if name in LANDMARKS}:
        worst = max(used, key=lambda name: used[name])
        if not np.isfinite(used[worst]):
            raise fault(scan, f"landmark {worst} has a coordinate beyond all bounds; leave it out or mark it again")
        found = f"landmark {worst} lies {used[worst]:.0f} mm off the surface"
        expected = f"expected at most {FURTHEST_MM:g}"
        raise fault(scan, f"{found}, {expected}: are these the landmarks of this very mesh?")
    remarks = (f"left out landmarks that lie off the surface and that nothing uses: {', '.join(unfit)}",)
    return {name: scan.landmarks[name] for name in names if name not in unfit}, remarks if unfit else ()


def _towards_camera(scan: Scan, front: np.ndarray) -> Scan:
    share = clockwise_share(scan.points @ front.T, scan.triangles)
    remarks = scan.remarks
    mixed = "triangles run both ways round"
    # Once: a scan is checked again where other landmarks than its own are taken.
    if MIXED <= share <= 1 - MIXED and not any(remark.startswith(mixed) for remark in remarks):
        found = f"{mixed}, {share:.0%} of the surface seen clockwise"
        remarks += (f"{found}: parts of it will look like holes; export the mesh with one winding",)
    if share <= 0.5:
        return dataclasses.replace(scan, remarks=remarks)
    if share > 1 - MIXED:
        remarks += ("triangles ran clockwise as seen from the camera and were turned round",)
    triangles, uv_triangles = (np.ascontiguousarray(each[:, ::-1]) for each in (scan.triangles, scan.uv_triangles))
    return dataclasses.replace(scan, triangles=triangles, uv_triangles=uv_triangles, remarks=remarks)


def _with_right_picture(scan: Scan, front: np.ndarray) -> Scan:
    """Adds a remark where the picture is mirrored; it is left as it is, since pictures may be stored so."""
    if mirrored_share(scan.points @ front.T, scan.triangles, scan.uv, scan.uv_triangles) <= 1 - MIXED:
        return scan
    advice = (
        "v counts from the picture's top; if yours does not, give 1 - v"
        if scan.frontal  # a database's or a user's own reader
        else "turn v into 1 - v in the mesh, or mirror the picture or the mesh"
    )
    remark = f"the texture is mirrored or upside down: {advice}"
    # Once: a scan is checked again where other landmarks than its own are taken.
    return dataclasses.replace(scan, remarks=tuple(dict.fromkeys((*scan.remarks, remark))))
