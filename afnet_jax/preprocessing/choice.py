"""Whose landmarks preprocessing takes: those that come with a scan, or found ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.landmarks import look_at
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.pipeline import preprocess_given
from afnet_jax.scans.arrays import fault
from afnet_jax.scans.landmark_distance import FURTHEST_MM, distances_to_surface
from afnet_jax.scans.scan import Scan
from afnet_jax.scans.validity import validated

_FACES = (0.8, 1.2)  # times an adult's: beyond, a mesh is in another unit
_MOST_UNSEEN = 3  # landmarks without surface: more, and what is left is no face
_DOUBTED = 0.6  # confidence below which a remark names a landmark


def preprocess(scan: Scan) -> FaceMaps:
    """Makes the aligned maps of one face; where the scan has no landmarks, they are found.

    Returns:
        The maps, whose quality["landmarks"] is "given" or "found", with quality["landmark_confidence"] where found.

    Raises:
        ScanError: the landmarks give no pose or lie off the surface, the surface is not a face's, or none is found.
    """
    return preprocess_given(scan) if scan.landmarks else preprocess_found(scan)


def preprocess_found(scan: Scan) -> FaceMaps:
    """Makes the aligned maps of one face by found landmarks, whatever comes with the scan."""
    landmarks, confidence, remarks = look_at(scan)
    remarks = scan.remarks + remarks + _remark(confidence)
    found = dataclasses.replace(scan, landmarks=landmarks, frontal=False, remarks=remarks)
    maps = preprocess_given(validated(_without_unseen(found if scan.frontal else _in_mm(found))))
    mean = float(np.mean(list(confidence.values())))
    return dataclasses.replace(maps, quality={**maps.quality, "landmarks": "found", "landmark_confidence": mean})


def _without_unseen(scan: Scan) -> Scan:
    """The scan without landmarks over holes in its surface, where one is a guess in the air: the others give the pose.

    Raises:
        ScanError: they are too many.
    """
    gaps = distances_to_surface(scan.points, np.stack(list(scan.landmarks.values())))
    unseen = [name for name, gap in zip(scan.landmarks, gaps, strict=True) if gap > FURTHEST_MM]
    if not unseen:
        return scan
    if len(unseen) > _MOST_UNSEEN:
        raise fault(scan, f"no whole face found: no surface near {', '.join(unseen)}; scan it anew, or give landmarks")
    landmarks = {name: at for name, at in scan.landmarks.items() if name not in unseen}
    remark = f"landmarks left out, as the surface has a hole there: {', '.join(unseen)}"
    return dataclasses.replace(scan, landmarks=landmarks, remarks=(*scan.remarks, remark))


def _in_mm(scan: Scan) -> Scan:
    """The scan, scaled where its face is so small or so large that its unit must be another one."""
    names = [name for name in TEMPLATE if name in scan.landmarks]
    size = _spread([scan.landmarks[name] for name in names]) / _spread([TEMPLATE[name] for name in names])
    if _FACES[0] <= size <= _FACES[1]:
        return scan
    landmarks = {name: at / size for name, at in scan.landmarks.items()}
    remark = f"the face that was found is {size:.2f} times an adult's: scaled to an adult's size"
    return dataclasses.replace(scan, points=scan.points / size, landmarks=landmarks, remarks=(*scan.remarks, remark))


def _spread(places: Sequence[np.ndarray]) -> float:
    return float(np.sqrt(np.var(np.stack(places), axis=0).sum()))


def _remark(confidence: Mapping[str, float]) -> tuple[str, ...]:
    doubted = [name for name, value in confidence.items() if value < _DOUBTED]
    return (f"landmarks found on the surface, these with little confidence: {', '.join(doubted)}",) if doubted else ()


# What --landmarks says -> what makes face maps of a scan.
CHOICES: Mapping[str, Callable[[Scan], FaceMaps]] = {
    "auto": preprocess,
    "given": preprocess_given,
    "found": preprocess_found,
}
