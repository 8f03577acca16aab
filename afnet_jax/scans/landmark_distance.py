"""How far landmarks lie from the surface: those of another mesh or frame give a fine pose and a wrong picture."""

from __future__ import annotations

import numpy as np

FURTHEST_MM = 10.0  # that a landmark may lie from the surface
_BOUND_MM = 2e4  # twice the largest coordinate of a point; what lies beyond belongs to no scan


def distances_to_surface(points: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns the (K,) mm from each place to its nearest point; inf for places that are no numbers or too far off.

    Args:
        points: (N, 3) of the surface, mm.
        places: (K, 3) of the landmarks, in the same frame.
    """
    known = (np.abs(places) <= _BOUND_MM).all(axis=1)
    places = places[known]
    # |p - l|² = |p|² - 2 p·l + |l|²: one matrix product finds every landmark's nearest point.
    squares = (points**2).sum(axis=1) - 2 * places @ points.T
    gaps = np.full(len(known), np.inf)
    gaps[known] = np.sqrt(np.maximum(squares.min(axis=1) + (places**2).sum(axis=1), 0))
    return gaps
