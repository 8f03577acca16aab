"""BU-3DFE: free meshes with a two-view texture and 83 landmarks (Yin et al., FG 2006)."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from afnet_jax.scans import face_set, images
from afnet_jax.scans.files import beside, read_bytes, with_suffix
from afnet_jax.scans.scan import Scan, ScanError, ScanId
from afnet_jax.scans.validity import validated

# The 83 points of a .bnd file in its own order: sides are the subject's, loops start at the inner corner of an
# eye or brow, at the subject's right of nose, lips and contour.
_PARTS = (
    ("right_eye", 8), ("left_eye", 8), ("right_brow", 10), ("left_brow", 10),
    ("nose", 12), ("lip_outer", 12), ("lip_inner", 8), ("contour", 15),
)  # fmt: skip
POINT_NAMES = tuple(f"{part}_{k}" for part, size in _PARTS for k in range(size))

# The common names, each the mean of one or two of the 83. A brow is outlined by five points along its upper and
# five along its lower edge: its ends and its middle lie half-way between the two edges.
COMMON = {
    "right_brow_outer": ("right_brow_4", "right_brow_5"),
    "right_brow_middle": ("right_brow_2", "right_brow_7"),
    "right_brow_inner": ("right_brow_0", "right_brow_9"),
    "left_brow_inner": ("left_brow_0", "left_brow_9"),
    "left_brow_middle": ("left_brow_2", "left_brow_7"),
    "left_brow_outer": ("left_brow_4", "left_brow_5"),
    "right_eye_outer": ("right_eye_4",),
    "right_eye_inner": ("right_eye_0",),
    "left_eye_inner": ("left_eye_0",),
    "left_eye_outer": ("left_eye_4",),
    "right_nose_wing": ("nose_3",),
    "left_nose_wing": ("nose_8",),
    "mouth_right": ("lip_outer_0",),
    "mouth_left": ("lip_outer_6",),
    "upper_lip_outer": ("lip_outer_3",),
    "upper_lip_inner": ("lip_inner_2",),
    "lower_lip_inner": ("lip_inner_6",),
    "lower_lip_outer": ("lip_outer_9",),
    "chin": ("contour_7",),
}

SUFFIXES = (".wrl", ".bmp", ".bnd")  # of the files that make one scan

_NAME = re.compile(r"(?P<subject>[FM]\d{4})_(?P<expression>AN|DI|FE|HA|SA|SU|NE)(?P<level>\d\d)(?P<ethnicity>[A-Z]{2})")
_MAX_LANDMARK_BYTES = 100_000


def scan_id(path: Path, database: str = "bu3dfe") -> ScanId:
    """Identity of a scan from the name of its F3D mesh, such as F0001_AN03WH_F3D.wrl.

    Raises:
        ScanError: the name is none of a BU-3DFE face mesh.
    """
    match = re.fullmatch(_NAME.pattern + r"(?i:_F3D\.wrl)", path.name)
    if not match:
        expected = "expected one like F0001_AN03WH_F3D.wrl; a mesh of other origin must be saved as OBJ or PLY"
        raise ScanError(path, f"the name is none of a BU-3DFE face mesh; {expected}")
    level = int(match["level"])
    if not (level == 0 if match["expression"] == "NE" else 1 <= level <= 4):
        raise ScanError(path, f"level {match['level']} is none of BU-3DFE's; expected 01 to 04, or NE00")
    return ScanId(database, match["subject"], match["expression"], level or None, match["ethnicity"], path.name[:12])


def read_scan(path: str | Path) -> Scan:
    """Reads a face mesh (…_F3D.wrl) with the texture that it names and, if any, the landmarks (.bnd) beside it.

    Landmarks come out under the common names and, all 83, under POINT_NAMES.

    Raises:
        ScanError: mesh or texture is missing, or a file is broken or does not belong to the others.
    """
    path = Path(path)
    identity = scan_id(path)
    mesh = face_set.read_face_set(path)
    bnd = with_suffix(path, ".bnd")
    landmarks = _landmarks(bnd, len(mesh.points)) if bnd.exists() else {}
    remarks = () if landmarks else ("no landmark file (.bnd) beside it",)
    texture = images.read_rgb(beside(path, mesh.texture))
    uv = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1).astype(np.float32)
    scan = Scan(identity, mesh.points, mesh.triangles, uv, mesh.uv_triangles, texture, landmarks, None, path, remarks)
    return validated(scan)


def _landmarks(path: Path, num_points: int) -> dict[str, np.ndarray]:
    vertices, places = _read_bnd(path)
    if not ((vertices >= 0) & (vertices < num_points)).all():
        fault = f"landmarks name vertices {vertices.min():g} to {vertices.max():g}, the mesh has {num_points}"
        raise ScanError(path, f"{fault}: are these the landmarks of another mesh (RAW)?")
    points = dict(zip(POINT_NAMES, places, strict=True))
    common = {name: np.mean([points[part] for part in parts], axis=0) for name, parts in COMMON.items()}
    return common | points


def _read_bnd(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """83 lines `vertex x y z`: (83,) vertices and (83, 3) places. The places count, the vertices are a check."""
    text = read_bytes(path, _MAX_LANDMARK_BYTES, "landmark file (.bnd)")
    lines = [line.split() for line in text.splitlines() if line.strip()]
    if len(lines) != len(POINT_NAMES):
        raise ScanError(path, f"expected {len(POINT_NAMES)} landmarks, found {len(lines)} lines")
    try:
        rows = np.array(lines, np.float64)
        if rows.shape[1] != 4:
            raise ValueError
    except ValueError:
        raise ScanError(path, "expected lines `vertex x y z`, found one that is not four numbers") from None
    return rows[:, 0], rows[:, 1:]


def write_scan(scan: Scan, folder: str | Path, frontal: np.ndarray | None = None) -> Path:
    """Writes a scan as BU-3DFE does, into folder/<subject>: F3D mesh, texture and landmarks.

    Args:
        scan: with all 83 landmarks of POINT_NAMES; each goes to its nearest point, as the format wants.
        folder: the database's folder; made if need be.
        frontal: (H, W, 3) uint8, the frontal picture (…_F2D.bmp), if there is one.

    Returns:
        The path of the mesh, which `read_scan` takes.

    Raises:
        ScanError: the scan lacks a level, an ethnicity or a landmark that the format asks for.
    """
    folder = Path(folder) / scan.id.subject
    stem = scan.id.name
    path = folder / f"{stem}_F3D.wrl"
    scan_id(path)
    absent = [name for name in POINT_NAMES if name not in scan.landmarks]
    if absent:
        raise ScanError(path, f"BU-3DFE's format needs 83 landmarks; missing: {', '.join(absent[:3])} …")
    folder.mkdir(parents=True, exist_ok=True)
    uv = np.stack([scan.uv[:, 0], 1 - scan.uv[:, 1].astype(np.float64)], axis=1)
    mesh = face_set.FaceSet(scan.points, scan.triangles, uv, scan.uv_triangles, f"{stem}_F3D.bmp")
    face_set.write_face_set(path, mesh)
    images.write_rgb(folder / mesh.texture, scan.texture)
    _write_bnd(path.with_suffix(".bnd"), scan)
    if frontal is not None:
        images.write_rgb(folder / f"{stem}_F2D.bmp", frontal)
    return path


def _write_bnd(path: Path, scan: Scan) -> None:
    import scipy.spatial  # not above: who reads needs none of it

    vertices = scipy.spatial.cKDTree(scan.points).query([scan.landmarks[name] for name in POINT_NAMES])[1]
    lines = ["{}\t\t{:.5f} {:.5f} {:.5f}\n".format(vertex, *scan.points[vertex]) for vertex in vertices]
    path.write_text("".join(lines), newline="\n", encoding="utf-8")
