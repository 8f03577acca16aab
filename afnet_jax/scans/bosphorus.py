"""Bosphorus: range grids with a cropped picture and about 22 named landmarks (Savran et al., BIOID 2008)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from afnet_jax.scans import bnt, images
from afnet_jax.scans.files import read_bytes, with_suffix
from afnet_jax.scans.range_grid import grid_triangles
from afnet_jax.scans.scan import NEUTRAL_CODE, Scan, ScanError, ScanId
from afnet_jax.scans.validity import validated

EXPRESSION_WORDS = {"ANGER": "AN", "DISGUST": "DI", "FEAR": "FE", "HAPPY": "HA", "SADNESS": "SA", "SURPRISE": "SU"}

# The files' "left" is the picture's, so the subject's right.
LANDMARK_NAMES = {
    "Outer left eyebrow": "right_brow_outer",
    "Middle left eyebrow": "right_brow_middle",
    "Inner left eyebrow": "right_brow_inner",
    "Inner right eyebrow": "left_brow_inner",
    "Middle right eyebrow": "left_brow_middle",
    "Outer right eyebrow": "left_brow_outer",
    "Outer left eye corner": "right_eye_outer",
    "Inner left eye corner": "right_eye_inner",
    "Inner right eye corner": "left_eye_inner",
    "Outer right eye corner": "left_eye_outer",
    "Nose saddle left": "right_nose_saddle",
    "Nose saddle right": "left_nose_saddle",
    "Left nose peak": "right_nose_wing",
    "Nose tip": "nose_tip",
    "Right nose peak": "left_nose_wing",
    "Left mouth corner": "mouth_right",
    "Upper lip outer middle": "upper_lip_outer",
    "Right mouth corner": "mouth_left",
    "Upper lip inner middle": "upper_lip_inner",
    "Lower lip inner middle": "lower_lip_inner",
    "Lower lip outer middle": "lower_lip_outer",
    "Chin middle": "chin",
}


SUFFIXES = (".bnt", ".png", ".lm3")  # of the files that make one scan

_NAME = re.compile(r"(?P<subject>bs\d{3})_(?:E_(?P<word>[A-Z]+)|N_N)_\d+(?i:\.bnt)", re.ASCII)
_MAX_LANDMARK_BYTES = 100_000


def scan_id(path: Path, database: str = "bosphorus") -> ScanId:
    """Identity of a scan from the name of its range grid, such as bs000_E_ANGER_0.bnt or bs000_N_N_0.bnt.

    Raises:
        ScanError: the name is none of an emotion or neutral scan (action units, rotations and occlusions are not read).
    """
    match = _NAME.fullmatch(path.name)
    if not match or (match["word"] and match["word"] not in EXPRESSION_WORDS):
        words = ", ".join(EXPRESSION_WORDS)
        raise ScanError(
            path, f"the name is none of an emotion scan; expected bs000_E_<{words}>_0.bnt or bs000_N_N_0.bnt"
        )
    expression = EXPRESSION_WORDS[match["word"]] if match["word"] else NEUTRAL_CODE
    return ScanId(database, match["subject"], expression, None, None, path.stem)


def read_scan(path: str | Path) -> Scan:
    """Reads a range grid (.bnt) with the picture (.png) of the same name beside it, and the landmarks (.lm3), if any.

    Every grid point that is surface becomes a point, every cell with three or four of them one or two triangles.
    Landmarks come out under the common names; those beyond LANDMARK_NAMES keep the file's.

    Raises:
        ScanError: grid or picture is missing, or a file is broken or does not belong to the others.
    """
    path = Path(path)
    identity = scan_id(path)
    lm3 = with_suffix(path, ".lm3")
    landmarks = _read_lm3(lm3) if lm3.exists() else {}
    remarks = () if landmarks else ("no landmark file (.lm3) beside it",)
    raw = bnt.read_grid(path)
    if not raw.surface.any():
        raise ScanError(path, "the range grid holds no surface, only background")
    grid = np.full(raw.surface.shape, -1, np.int32)
    grid[raw.surface] = np.arange(np.count_nonzero(raw.surface))
    points = np.ascontiguousarray(raw.xyz[:, raw.surface].T)
    uv = np.stack([raw.u[raw.surface], raw.v[raw.surface]], axis=1)
    triangles = grid_triangles(grid)
    texture = images.read_rgb(with_suffix(path, ".png"))
    return validated(Scan(identity, points, triangles, uv, triangles, texture, landmarks, grid, path, remarks))


def _read_lm3(path: Path) -> dict[str, np.ndarray]:
    """A head, `N landmarks:`, then a line with the name and one with x y z for each."""
    text = read_bytes(path, _MAX_LANDMARK_BYTES, "landmark file (.lm3)").decode("latin-1")
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    announced = re.fullmatch(r"(\d{1,4}) landmarks:?", lines[0], re.ASCII) if lines else None
    if not announced or len(lines) - 1 != 2 * int(announced[1]) or len(lines) < 3:
        found = f"{lines[0][:40]!r} and {len(lines) - 1} lines" if lines else "nothing"
        raise ScanError(path, f"expected `N landmarks:` and a name and a place for each, found {found}")
    landmarks = {}
    for name, place in zip(lines[1::2], lines[2::2], strict=True):
        at = _place(path, name, place)
        common = LANDMARK_NAMES.get(name, name)
        if common in landmarks:
            raise ScanError(path, f"landmark {name[:40]!r} stands twice")
        landmarks[common] = at
    return landmarks


def _place(path: Path, name: str, place: str) -> np.ndarray:
    try:
        x, y, z = map(float, place.split())
    except ValueError:
        raise ScanError(path, f"landmark {name[:40]!r}: expected `x y z`, found {place[:60]!r}") from None
    return np.array([x, y, z])


def write_scan(scan: Scan, folder: str | Path) -> Path:
    """Writes a scan as Bosphorus does, into folder/<subject>: range grid, picture and landmarks (.lm2, .lm3).

    Args:
        scan: with `grid`, one texture point per point (uv_triangles equal to triangles), and any of the landmarks
            of LANDMARK_NAMES; each goes to its nearest point, as the format wants.
        folder: the database's folder; made if need be.

    Returns:
        The path of the range grid, which `read_scan` takes.

    Raises:
        ScanError: the scan is a free mesh.
    """
    folder = Path(folder) / scan.id.subject
    path = folder / f"{scan.id.name}.bnt"
    if scan.grid is None or not np.array_equal(scan.triangles, scan.uv_triangles):
        raise ScanError(path, "Bosphorus' format holds range grids with one texture point per point, not free meshes")
    folder.mkdir(parents=True, exist_ok=True)
    surface = scan.grid >= 0
    xyz = scan.points[scan.grid].transpose(2, 0, 1)
    u, v = (_extrapolated(scan.uv[scan.grid, k].astype(np.float64), surface) for k in range(2))
    bnt.write_grid(path, bnt.RangeGrid(xyz, u, v, surface, f"{scan.id.name}.png"))
    images.write_rgb(path.with_suffix(".png"), scan.texture)
    _write_landmarks(path, scan)
    return path


def _extrapolated(plane: np.ndarray, surface: np.ndarray) -> np.ndarray:
    """Fills a plane of texture places off the surface by the best linear function of row and column."""
    row, col = np.indices(plane.shape)
    terms = np.stack([row, col, np.ones_like(row)], axis=-1).astype(np.float64)
    slope, *_ = np.linalg.lstsq(terms[surface], plane[surface], rcond=None)
    return np.where(surface, plane, terms @ slope)


def _write_landmarks(path: Path, scan: Scan) -> None:
    present = {file_name: scan.landmarks[name] for file_name, name in LANDMARK_NAMES.items() if name in scan.landmarks}
    nearest = {name: int(np.argmin(((scan.points - at) ** 2).sum(axis=1))) for name, at in present.items()}
    solid = "".join("{}\n{:.6f} {:.6f} {:.6f}\n".format(name, *scan.points[k]) for name, k in nearest.items())
    path.with_suffix(".lm3").write_text(
        f"# 3D Landmark File\n\n{len(nearest)} landmarks:\n{solid}", newline="\n", encoding="utf-8"
    )
    height, width = scan.texture.shape[:2]
    labels = "".join(f"{name}\n" for name in nearest)
    flat = "".join("{:.4f} {:.4f}\n".format(*(scan.uv[k] * (width, height))) for k in nearest.values())
    head = f"# 2D Landmark File\n\n{len(nearest)} landmarks\n\nLabels:\n"
    path.with_suffix(".lm2").write_text(
        f"{head}{labels}\n2D Image coordinates:\n{flat}", newline="\n", encoding="utf-8"
    )
