"""Finds the landmarks of scans that come without any: two small networks look at the surface, brows move by colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

    from afnet_jax.scans.scan import Scan


def find_landmarks(scan: Scan) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """Finds the landmarks of a scan's face by its surface; where colours show the brows, these by them.

    The view along −z is tried first, then views from all sides.

    Returns:
        name -> (3,) mm in the scan's frame, for each of LANDMARKS; name -> confidence, 0 to 1.

    Raises:
        ScanError: no face is found.
    """
    return look_at(scan)[:2]


def look_at(scan: Scan) -> tuple[dict[str, np.ndarray], dict[str, float], tuple[str, ...]]:
    """Does what `find_landmarks` does, and adds remarks: that the surface shows another face, too."""
    from afnet_jax.landmarks import detector  # it brings JAX, which preparing scans with landmarks does not need

    return detector.look_at(scan)


__all__ = ["find_landmarks", "look_at"]
