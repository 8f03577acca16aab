"""What every reader promises of a Scan, checked in one place."""

from __future__ import annotations

import dataclasses

import numpy as np

from afnet_jax.scans.scan import Scan, ScanError

# A face, from the smallest crop of a child to a head with shoulders; in metres or inches it falls far outside.
SMALLEST_FACE_MM, LARGEST_FACE_MM = 60.0, 1000.0
LARGEST_COORDINATE_MM = 1e4
FURTHEST_LANDMARK_MM = 10.0
UV_SLACK = 0.05  # texture points may miss the picture by this much; beyond its edge they take the edge's colour


def validated(scan: Scan) -> Scan:
    """Returns the scan, texture points clipped to the picture and degenerate triangles left out.

    Raises:
        ScanError: numbers that are not finite, not mm or out of range; landmarks that do not lie on the surface.
    """
    _check_points(scan)
    _check_texture_points(scan)
    _check_landmarks(scan)
    a, b, c = scan.triangles.T
    proper = (a != b) & (b != c) & (c != a)
    if not proper.any():
        raise ScanError(scan.path or scan.id.name, "the mesh has no triangle")
    return dataclasses.replace(
        scan,
        triangles=np.ascontiguousarray(scan.triangles[proper], np.int32),
        uv=scan.uv.clip(0, 1).astype(np.float32),
        uv_triangles=np.ascontiguousarray(scan.uv_triangles[proper], np.int32),
    )


def _check_points(scan: Scan) -> None:
    if not np.isfinite(scan.points).all() or np.abs(scan.points).max() > LARGEST_COORDINATE_MM:
        raise ScanError(
            scan.path or scan.id.name, f"a point's coordinate is beyond ±{LARGEST_COORDINATE_MM:g} mm or no number"
        )
    # Spikes reach far, a face does not: the middle 98 % of points tell its size.
    low, high = np.percentile(scan.points[:, 1], [1, 99])
    if not SMALLEST_FACE_MM <= high - low <= LARGEST_FACE_MM:
        expected = f"{SMALLEST_FACE_MM:g} to {LARGEST_FACE_MM:g} mm"
        raise ScanError(
            scan.path or scan.id.name, f"the face is {high - low:.3g} units high, expected {expected}; convert it to mm"
        )


def _check_texture_points(scan: Scan) -> None:
    if not (np.isfinite(scan.uv).all() and scan.uv.min() >= -UV_SLACK and scan.uv.max() <= 1 + UV_SLACK):
        raise ScanError(
            scan.path or scan.id.name, "a texture point lies outside the picture, expected 0 to 1; the file is damaged"
        )


def _check_landmarks(scan: Scan) -> None:
    places = np.array(list(scan.landmarks.values()), np.float64).reshape(-1, 3)
    names = list(scan.landmarks)
    strange = ~(np.abs(places) <= 2 * LARGEST_COORDINATE_MM).all(axis=1)
    if strange.any():
        raise ScanError(
            scan.path or scan.id.name, f"landmark {names[np.argmax(strange)]} has a coordinate beyond all bounds"
        )
    # |p - l|² = |p|² - 2 p·l + |l|²: one matrix product finds every landmark's nearest point.
    squares = (scan.points**2).sum(axis=1) - 2 * places @ scan.points.T
    gaps = np.sqrt(np.maximum(squares.min(axis=1) + (places**2).sum(axis=1), 0)) if len(names) else np.zeros(1)
    if gaps.max() > FURTHEST_LANDMARK_MM:
        worst = names[np.argmax(gaps)]
        fault = f"landmark {worst} lies {gaps.max():.0f} mm off the surface, expected at most {FURTHEST_LANDMARK_MM:g}"
        raise ScanError(scan.path or scan.id.name, f"{fault}: are these the landmarks of this very mesh?")
