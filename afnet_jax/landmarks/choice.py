"""Whose landmarks preprocessing takes: those that come with a scan, or found ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from afnet_jax import preprocessing
from afnet_jax.landmarks import find_landmarks
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.scans.scan import Scan
from afnet_jax.scans.validity import validated

_DOUBTED = 0.6  # confidence below which a remark names a landmark


def preprocess(scan: Scan, config: PreprocessingConfig | None = None) -> FaceMaps:
    """Makes the aligned maps of one face; where the scan has no landmarks, they are found.

    Returns:
        The maps, whose quality["landmarks"] is "given" or "found", with quality["landmark_confidence"] where found.

    Raises:
        ScanError: as `preprocessing.preprocess`, or no face is found.
    """
    if not scan.landmarks:
        return preprocess_found(scan, config)
    maps = preprocessing.preprocess(scan, config)
    return dataclasses.replace(maps, quality={**maps.quality, "landmarks": "given"})


def preprocess_found(scan: Scan, config: PreprocessingConfig | None = None) -> FaceMaps:
    """Makes the aligned maps of one face by found landmarks, whatever comes with the scan."""
    landmarks, confidence = find_landmarks(scan)
    remark = _remark(confidence)
    scan = validated(dataclasses.replace(scan, landmarks=landmarks, frontal=False, remarks=(*scan.remarks, *remark)))
    maps = preprocessing.preprocess(scan, config)
    mean = float(np.mean(list(confidence.values())))
    return dataclasses.replace(maps, quality={**maps.quality, "landmarks": "found", "landmark_confidence": mean})


def _remark(confidence: Mapping[str, float]) -> tuple[str, ...]:
    doubted = [name for name, value in confidence.items() if value < _DOUBTED]
    return (f"landmarks found on the surface, these with little confidence: {', '.join(doubted)}",) if doubted else ()


# What --landmarks says -> what makes face maps of a scan.
CHOICES: Mapping[str, Callable[[Scan], FaceMaps]] = {
    "auto": preprocess,
    "given": preprocessing.preprocess,
    "found": preprocess_found,
}
