"""Scans of a data set that have no colours, of which a network that sees the texture would learn nothing."""

from __future__ import annotations

import numpy as np

from afnet_jax.datasets.loading import FaceDataset

_MOST = 2000  # scans that are looked at, evenly chosen: of those that are read from files as they are needed


def without_colours(data: FaceDataset) -> np.ndarray:
    """Ids of the scans most of whose face has one and the same colour, as a mesh without any has."""
    bare = []
    for k in range(0, len(data.scan_ids), max(1, len(data.scan_ids) // _MOST)):
        face = data.maps.texture[k][np.isfinite(data.maps.depth[k][..., 0])]
        if len(face) and (face == np.median(face, axis=0)).all(-1).mean() > 0.5:
            bare.append(data.scan_ids[k])
    return np.array(bare)
