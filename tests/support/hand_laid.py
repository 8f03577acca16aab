"""Files of a hill of known form and colour, laid out after the formats' descriptions, without the project's writers.

The hill is lopsided in form and colour, so that whatever is mirrored, turned or shifted on its way is seen.
"""

import struct
from pathlib import Path

import numpy as np
import PIL.Image

COLUMNS, ROWS, SPACING = 33, 41, 5.0  # points of the surface and mm between them
BU3DFE_NAME, BOSPHORUS_NAME = "F0007_FE02AE", "bs042_E_SADNESS_0"


def hill(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Height in mm."""
    return 60 - x**2 / 150 - y**2 / 200 + x / 20 - y / 30 + 3 * np.sin(x / 12) * np.cos(y / 15)


def colour(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(…, 3) in 0 to 255: red grows to the right, green upwards, blue to the upper left."""
    return np.stack([128 + 1.4 * x, 128 + 1.1 * y, 128 - 0.6 * x + 0.5 * y], axis=-1)


def places() -> np.ndarray:
    """(ROWS, COLUMNS, 3) mm of all points; row 0 is the lowest."""
    x, y = np.meshgrid(SPACING * (np.arange(COLUMNS) - (COLUMNS - 1) / 2), SPACING * (np.arange(ROWS) - (ROWS - 1) / 2))
    return np.stack([x, y, hill(x, y)], axis=-1)


def landmark_vertices(count: int) -> np.ndarray:
    """Indices of as many points, to and fro over the middle rows: what lies half-way between two is on the surface."""
    grid = np.arange(ROWS * COLUMNS).reshape(ROWS, COLUMNS)[18:]
    grid[1::2] = grid[1::2, ::-1].copy()
    return grid.ravel()[:count]


def _picture() -> PIL.Image.Image:
    """The hill from the front, 320 × 400 pixels of half a millimetre, row 0 at the top."""
    x, y = np.meshgrid((np.arange(320) + 0.5) / 2 - 80, 100 - (np.arange(400) + 0.5) / 2)
    return PIL.Image.fromarray(colour(x, y).clip(0, 255).round().astype(np.uint8))


def write_bu3dfe(folder: Path) -> Path:
    """Writes F0007_FE02AE: VRML 97 with indexed texture points of their own order, a BMP, and 83 landmarks."""
    path = folder / f"{BU3DFE_NAME}_F3D.wrl"
    points = places().reshape(-1, 3)
    quads = [
        (row * COLUMNS + col, row * COLUMNS + col + 1, (row + 1) * COLUMNS + col + 1, (row + 1) * COLUMNS + col)
        for row in range(ROWS - 1)
        for col in range(COLUMNS - 1)
    ]
    last = len(points) - 1  # texture points are listed backwards
    place = ",\n".join(f"{x:.5f} {y:.5f} {z:.5f}" for x, y, z in points)
    texture = ",\n".join(f"{(x + 80) / 160:.6f} {(y + 100) / 200:.6f}" for x, y, _ in points[::-1])
    triangles = [t for a, b, c, d in quads for t in ((a, b, c), (a, c, d))]
    index = ",\n".join("{}, {}, {}, -1".format(*t) for t in triangles)
    texture_index = ",\n".join("{}, {}, {}, -1".format(*(last - k for k in t)) for t in triangles)
    path.write_text(
        "#VRML V2.0 utf8\nDEF Head Transform {\nchildren [\nShape {\n"
        f'appearance Appearance {{ texture ImageTexture {{ url "{path.stem}.bmp" repeatS FALSE }} }}\n'
        f"geometry IndexedFaceSet {{\nccw TRUE\nsolid FALSE\ncoord Coordinate {{\npoint [\n{place}\n]\n}}\n"
        f"coordIndex [\n{index}\n]\ntexCoord TextureCoordinate {{\npoint [\n{texture}\n]\n}}\n"
        f"texCoordIndex [\n{texture_index}\n]\n}}\n}}\n]\n}}\n"
    )
    _picture().save(path.with_suffix(".bmp"))
    lines = ["{}\t\t{:.5f} {:.5f} {:.5f}\n".format(k, *points[k]) for k in landmark_vertices(83)]
    path.with_suffix(".bnd").write_text("".join(lines))
    return path


def write_bosphorus(folder: Path, names: list[str]) -> Path:
    """Writes bs042_E_SADNESS_0: a range grid without its outermost points, a PNG, and landmarks of the given names."""
    path = folder / f"{BOSPHORUS_NAME}.bnt"
    xyz = places()
    u, v = (xyz[..., 0] + 80) / 160, (100 - xyz[..., 1]) / 200
    surface = np.pad(np.ones((ROWS - 2, COLUMNS - 2), bool), 1)
    planes = [*np.where(surface[..., None], xyz, -1e9).transpose(2, 0, 1), u, v]
    picture = f"{BOSPHORUS_NAME}.png".encode()
    head = struct.pack("<HHdH", ROWS, COLUMNS, -1e9, len(picture)) + picture + struct.pack("<I", 5 * ROWS * COLUMNS)
    path.write_bytes(head + np.array(planes, "<f8").tobytes())
    _picture().save(path.with_suffix(".png"))
    inner = xyz[1:-1, 1:-1].reshape(-1, 3)
    marks = zip(names, np.random.default_rng(3).permutation(len(inner)), strict=False)
    lines = [f"{name}\n{inner[k][0]:.6f} {inner[k][1]:.6f} {inner[k][2]:.6f}\n" for name, k in marks]
    path.with_suffix(".lm3").write_text(f"# 3D Landmark File\n\n{len(names)} landmarks:\n" + "".join(lines))
    return path


def colour_error(scan) -> np.ndarray:
    """(3T, 3) how far the texture at each triangle's corners is from the hill's colour there, of 255."""
    corners = scan.points[scan.triangles].reshape(-1, 3)
    height, width = scan.texture.shape[:2]
    column, row = np.floor(scan.uv[scan.uv_triangles].reshape(-1, 2) * (width, height)).astype(int).T
    return scan.texture[row.clip(0, height - 1), column.clip(0, width - 1)] - colour(corners[:, 0], corners[:, 1])
