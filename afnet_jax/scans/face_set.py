"""One textured IndexedFaceSet in a VRML file, as BU-3DFE's meshes are (ISO/IEC 14772-1, 6.23)."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np

from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.meshes.surface import fans
from afnet_jax.scans.scan import ScanError
from afnet_jax.scans.vrml import Node, VRMLError, numbers, parse

MAX_CORNERS = 8  # of a polygon; the scanners' have three
MAX_BYTES = 64 * 2**20  # the largest meshes of the database (RAW) stay below 10 MB


@dataclasses.dataclass(frozen=True)
class FaceSet:
    """A textured triangle mesh in VRML's own convention. N points, M texture points, T triangles.

    Attributes:
        points: (N, 3) float64.
        triangles: (T, 3) int32 indices into points, corners in the file's order.
        uv: (M, 2) float64 texture points, v upwards from the picture's BOTTOM.
        uv_triangles: (T, 3) int32 indices into uv, corner by corner beside triangles.
        texture: the picture's bare file name.
    """

    points: np.ndarray
    triangles: np.ndarray
    uv: np.ndarray
    uv_triangles: np.ndarray
    texture: str


def read_face_set(path: Path) -> FaceSet:
    """Reads the file's one IndexedFaceSet; polygons become fans of triangles.

    Raises:
        ScanError: the file is missing, broken or of a structure that is not supported.
    """
    data = read_bytes(path, MAX_BYTES, "VRML mesh")
    try:
        return _face_set(parse(data))
    except VRMLError as error:
        raise ScanError(path, str(error)) from None


def _face_set(root: Node) -> FaceSet:
    nodes = list(root.below())
    _refuse_unsupported(nodes)
    mesh = _only("IndexedFaceSet", nodes)
    points = _points(mesh, "coord", "Coordinate", 3)
    uv = _points(mesh, "texCoord", "TextureCoordinate", 2)
    corners, sizes = _polygons(mesh, "coordIndex", len(points))
    # Without an index of their own, texture points go by the index of the points (ISO/IEC 14772-1, 6.23).
    uv_field = "texCoordIndex" if "texCoordIndex" in mesh.fields else "coordIndex"
    uv_corners, uv_sizes = _polygons(mesh, uv_field, len(uv))
    if not np.array_equal(sizes, uv_sizes):
        raise VRMLError(f"texCoordIndex has {len(uv_sizes)} polygons of other sizes than coordIndex's {len(sizes)}")
    name = _texture_name(_only("ImageTexture", nodes))
    return FaceSet(points, fans(corners, sizes), uv, fans(uv_corners, sizes), name)


def _refuse_unsupported(nodes: list[Node]) -> None:
    moved = [node.type for node in nodes if node.type == "Transform" and set(node.fields) - {"children"}]
    if moved:
        raise VRMLError("a Transform moves the mesh; expected the points in their final place: export the mesh again")
    for kind in ("TextureTransform", "Inline", "USE"):
        if any(node.type == kind for node in nodes):
            raise VRMLError(f"a {kind} node is not supported; expected one plain IndexedFaceSet: export the mesh again")


def _only(kind: str, nodes: list[Node]) -> Node:
    found = [node for node in nodes if node.type == kind]
    if len(found) != 1:
        raise VRMLError(f"expected exactly one {kind} node, found {len(found)}")
    return found[0]


def _points(mesh: Node, field: str, kind: str, dimensions: int) -> np.ndarray:
    node = mesh.fields.get(field)
    if not isinstance(node, Node) or node.type != kind:
        raise VRMLError(f"the IndexedFaceSet has no `{field} {kind}`")
    values = numbers(node.fields.get("point"), np.float64, f"{kind} point")
    if values.size == 0 or values.size % dimensions:
        raise VRMLError(f"{kind} point holds {values.size} numbers, expected {dimensions} for each point")
    if not np.isfinite(values).all():
        raise VRMLError(f"{kind} point holds a number beyond all bounds")
    return values.reshape(-1, dimensions)


def _polygons(mesh: Node, field: str, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Corner indices of all polygons, one after the other, and the polygons' sizes; `count` points may be named."""
    index = numbers(mesh.fields.get(field), np.int64, field)
    if index.size and index[-1] != -1:  # the last -1 may be left out
        index = np.append(index, -1)
    ends = np.flatnonzero(index == -1)
    sizes = np.diff(ends, prepend=-1) - 1
    corners = index[index != -1]
    if not sizes.size or sizes.min() < 3:
        raise VRMLError(f"{field} holds no polygon, or one of fewer than 3 corners")
    if sizes.max() > MAX_CORNERS:
        raise VRMLError(f"{field} holds a polygon of {sizes.max()} corners, expected a mesh of at most {MAX_CORNERS}")
    if corners.min() < 0 or corners.max() >= count:
        raise VRMLError(f"{field} names point {corners.max()} (or a negative one); there are {count} points")
    return corners.astype(np.int32), sizes


def _texture_name(node: Node) -> str:
    url = node.fields.get("url")
    names = url if isinstance(url, list) else [url]
    name = names[0] if names and isinstance(names[0], str) else ""
    # A scan is its own folder's matter: nothing in it may lead elsewhere.
    if not re.fullmatch(r"[\w\- ][\w\-. ]*", name, re.ASCII):
        raise VRMLError(f"the texture's url is {name[:80]!r}, expected the bare name of a picture in the same folder")
    return name


VIEWPOINTS = (
    ("Front", "0 0 700", "0 1 0 0"),
    ("Left", "-700 0 0", "0 1 0 -1.5708"),
    ("Right", "700 0 0", "0 1 0 1.5708"),
    ("Back", "0 0 -700", "0 1 0 3.1416"),
    ("Top", "0 700 0", "1 0 0 -1.5708"),
    ("Bottom", "0 -700 0", "1 0 0 1.5708"),
)

HEAD = """#VRML V2.0 utf8
#Tricorder Technology plc - 2000
DEF Tricorder_object Transform {{
children [
Shape {{
appearance Appearance {{
texture ImageTexture {{
url "{texture}"
repeatS FALSE
repeatT FALSE
}}
}}
geometry IndexedFaceSet {{
ccw TRUE
solid FALSE
convex TRUE
creaseAngle 1.57
coord Coordinate {{
point [
"""

VIEWPOINT = """DEF Tricorder_Camera_{name} Viewpoint {{
position {position}
orientation {orientation}
fieldOfView 0.3
description "{name}"
}}
"""


def write_face_set(path: Path, mesh: FaceSet) -> None:
    """Writes a mesh as BU-3DFE's files are laid out: five decimals for points, six for texture points."""
    parts = [
        HEAD.format(texture=mesh.texture),
        _rows("%.5f %.5f %.5f", mesh.points),
        "]\n}\ncoordIndex [\n",
        _rows("%d, %d, %d, -1", mesh.triangles),
        "]\ntexCoord TextureCoordinate {\npoint [\n",
        _rows("%.6f %.6f", mesh.uv),
        "]\n}\ntexCoordIndex [\n",
        _rows("%d, %d, %d, -1", mesh.uv_triangles),
        "]\n}\n}\n]\n}\n",
        *(VIEWPOINT.format(name=name, position=at, orientation=turn) for name, at, turn in VIEWPOINTS),
    ]
    path.write_bytes("".join(parts).encode("ascii"))


def _rows(pattern: str, array: np.ndarray) -> str:
    indented = " " * 40 + pattern
    return ",\n".join([indented] * len(array)) % tuple(array.ravel().tolist()) + "\n"
