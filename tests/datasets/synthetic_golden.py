"""What the synthetic subjects' scans and maps are, in a few numbers; golden.json holds those of the last versions.

python tests/datasets/synthetic_golden.py writes it anew, which a raised version needs.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from afnet_jax.datasets import synthetic_default
from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.scans import Scan
from afnet_jax.synthetic import make_scan, population

GOLDEN = Path(__file__).with_name("synthetic_golden.json")
SHOWN = (("bu3dfe", 0, "HA", 4), ("bu3dfe", 3, "AN", 3), ("bosphorus", 1, "SU", None))


def measured() -> dict:
    """{"generation", "preparation", "scans": {name: numbers}, "maps": {name: numbers}}."""
    scans = [make_scan(who, code, level, database=database, seed=0)[0] for database, who, code, level in SHOWN]
    return {
        "generation": population.GENERATION,
        "preparation": synthetic_default.PREPARATION,
        "scans": {scan.id.name: _scan_numbers(scan) for scan in scans},
        "maps": {scan.id.name: _map_numbers(preprocess(scan)) for scan in scans},
    }


def _scan_numbers(scan: Scan) -> dict:
    """Quantiles of the points and places of the landmarks, mm; means of blocks of the texture, 0 to 255."""
    return {
        "points": np.quantile(scan.points, np.linspace(0.05, 0.95, 10), axis=0).tolist(),
        "landmarks": [scan.landmarks[name].tolist() for name in sorted(scan.landmarks)],
        "texture": _blocks(scan.texture[: scan.texture.shape[0] // 8 * 8, : scan.texture.shape[1] // 8 * 8], 8),
    }


def _map_numbers(maps: FaceMaps) -> dict:
    """Means of blocks: depth in mm (0 outside the face), the share of the face, texture 0 to 255, masks in [0, 1]."""
    return {
        "depth": _blocks(np.nan_to_num(maps.depth), 14),
        "valid": _blocks(maps.valid, 14),
        "texture": _blocks(maps.texture, 14),
        "masks": _blocks(maps.masks[56], 14),
    }


def _blocks(image: np.ndarray, count: int) -> list:
    """(H, W, …) -> (count, count, …) means."""
    height, width, *channels = image.shape
    return image.astype(float).reshape(count, height // count, count, width // count, *channels).mean((1, 3)).tolist()


def _rounded(value):
    if isinstance(value, dict):
        return {key: _rounded(inner) for key, inner in value.items()}
    return [_rounded(inner) for inner in value] if isinstance(value, list) else round(value, 3)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps(_rounded(measured())) + "\n")
