"""Made-up people as scans: posed, lit, seen by a made-up sensor, with the truth kept."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import scipy.ndimage
import scipy.spatial

from afnet_jax.scans import bosphorus, bu3dfe
from afnet_jax.scans.scan import LANDMARKS, Scan, ScanId
from afnet_jax.scans.synthetic import face, paint
from afnet_jax.scans.synthetic.person import Person, draw_person

DATABASES = ("bu3dfe", "bosphorus")
_BOSPHORUS_NAMES = {
    "AN": "E_ANGER", "DI": "E_DISGUST", "FE": "E_FEAR", "HA": "E_HAPPY", "SA": "E_SADNESS", "SU": "E_SURPRISE",
    "NE": "N_N",
}  # fmt: skip
_VERTEX_SPACING = 2.25  # mm, of a BU-3DFE mesh
_GRID_SPACING = 0.76  # mm, of a Bosphorus range grid
_PIXEL = 0.5  # mm, of both databases' pictures
_VIEW_YAW = np.deg2rad(38)  # of each of the two views of a BU-3DFE picture


@dataclasses.dataclass(frozen=True)
class Truth:
    """The surface without noise, spikes and holes, seen along -z in the scan's own frame, on a grid of 1 mm.

    Column c is x = x0 + c and row r is y = y0 + r: row 0 is the lowest.

    Attributes:
        depth: (H, W) float32 mm, NaN outside.
        rgb: (H, W, 3) uint8.
        valid: (H, W) bool.
        x0, y0: mm.
        landmarks: (K, 3) in the order of the database's file.
        rotation, translation: the pose given to the head.
    """

    depth: np.ndarray
    rgb: np.ndarray
    valid: np.ndarray
    x0: float
    y0: float
    landmarks: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


def make_scan(
    subject: int,
    expression: str,
    level: int | None = 4,
    *,
    database: str = "bu3dfe",
    seed: int = 0,
    clean: bool = False,
    rotation: np.ndarray | None = None,
) -> tuple[Scan, Truth]:
    """One scan of one made-up person; the same arguments give the same scan.

    Args:
        subject: number of the person, from 1.
        expression: a code of EXPRESSION_CODES, or "NE".
        level: intensity 1 to 4; Bosphorus has none and shows 4.
        database: "bu3dfe" for a mesh with a two-view picture, "bosphorus" for a range grid.
        seed: of the data set.
        clean: without noise, spikes and holes.
        rotation: (3, 3) pose of the head; None for a small one at random.

    Returns:
        The scan and the truth behind it.
    """
    person = draw_person(subject, seed)
    shown = 4 if database == "bosphorus" or level is None else level
    rng = np.random.default_rng([seed, subject, 2, sum(map(ord, expression)), ord(expression[0]), shown])
    skin = _pose(person, expression, shown, seed, rng, rotation)
    make = _mesh_scan if database == "bu3dfe" else _grid_scan
    return make(_identity(person, database, expression, shown), skin, rng, clean), _truth(skin, database)


def _identity(person: Person, database: str, expression: str, level: int) -> ScanId:
    if database == "bosphorus":
        subject = f"bs{person.number - 1:03d}"
        return ScanId(database, subject, expression, None, None, f"{subject}_{_BOSPHORUS_NAMES[expression]}_0")
    subject = f"{person.sex}{(person.number + 1) // 2:04d}"
    shown = 0 if expression == "NE" else level
    name = f"{subject}_{expression}{shown:02d}{person.ethnicity}"
    return ScanId(database, subject, expression, shown or None, person.ethnicity, name)


@dataclasses.dataclass(frozen=True)
class _Skin:
    """All places of a posed face: (R, C, 3) positions, normals and colours, which of them are seen, and landmarks."""

    points: np.ndarray
    normals: np.ndarray
    colours: np.ndarray
    seen: np.ndarray
    landmarks: dict[str, np.ndarray]
    places: dict[str, np.ndarray]
    mouth: np.ndarray  # (R, C, 3) points of the inside of the mouth, behind the lips
    mouth_colours: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray


@functools.lru_cache(maxsize=8)
def _heights(subject: int, seed: int) -> np.ndarray:
    return face.neutral_heights(draw_person(subject, seed))


def _pose(person, expression, level, seed, rng, rotation) -> _Skin:
    units = person.units(expression, level, rng)
    moved, eyes = face.move(person, units)
    points = np.stack(
        [face.A[None] + moved[0], face.B[:, None] + moved[1], _heights(person.number, seed) + moved[2]], axis=-1
    )
    if rotation is None:
        rotation = scipy.spatial.transform.Rotation.from_euler(
            "yxz", np.clip(rng.normal(0, 4, 3), -9, 9), degrees=True
        ).as_matrix()
    translation = rng.normal([0, -20, 20], [6, 12, 15])
    points = points @ rotation.T + translation
    normals = np.cross(np.gradient(points, axis=1), np.gradient(points, axis=0))
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True) + 1e-9
    lit = paint.light(normals, rng)
    colours = paint.paint_face(person, seed, eyes, units) * lit
    places = face.landmark_places(person, eyes)
    fields = np.moveaxis(points, -1, 0)
    landmarks = {name: face.sample(fields, place[None])[0] for name, place in places.items()}
    landmarks.update({name: np.mean([landmarks[k] for k in of], axis=0) for name, of in bu3dfe.COMMON.items()})
    mouth, mouth_colours = _mouth_inside(person, fields, rotation)
    return _Skin(
        points, normals, colours, face.inside(person), landmarks, places,
        mouth, mouth_colours * lit.mean(), rotation, translation,
    )  # fmt: skip


def _mouth_inside(person: Person, fields: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A sheet from lip to lip, sunk in between, with the upper teeth: (50, 81, 3) points and colours."""
    a = np.linspace(-0.98, 0.98, 81) * person["mouth_width"]
    upper, lower = (
        face.sample(fields, np.stack([a, np.full_like(a, person["mouth_height"] + side)], 1))
        for side in (face.STEP, -face.STEP)
    )
    t = np.linspace(0, 1, 50)[:, None, None]
    opening = np.linalg.norm(upper - lower, axis=1)
    sunk = np.minimum(0.6 * opening, 9)[None, :, None] * np.sin(np.pi * t)
    points = (1 - t) * upper + t * lower - sunk * rotation[:, 2]
    teeth = (t[..., 0] * opening[None] < 5.5) & (np.abs(a)[None] < 0.75 * person["mouth_width"]) & (opening > 4)[None]
    colours = np.where(teeth[..., None], [225, 216, 200], [62, 22, 22]) * (1 - 0.3 * np.sin(np.pi * t))
    return points, colours


def _splat(xy: np.ndarray, nearness: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Index of the nearest of (N,) places that falls on each pixel, -1 for none. xy is (N, 2) columns and rows."""
    cols, rows = np.rint(xy).astype(int).T
    on = (cols >= 0) & (cols < shape[1]) & (rows >= 0) & (rows < shape[0])
    order = np.flatnonzero(on)[np.argsort(nearness[on], kind="stable")]
    index = np.full(shape, -1)
    index[rows[order], cols[order]] = order
    return index


def _closed(index: np.ndarray, reach: float) -> np.ndarray:
    """The same with every empty pixel within `reach` pixels of a taken one given to it."""
    distance, (rows, cols) = scipy.ndimage.distance_transform_edt(index < 0, return_indices=True)
    return np.where(distance <= reach, index[rows, cols], -1)


def _all_places(skin: _Skin) -> tuple[np.ndarray, np.ndarray]:
    """Points and colours of all that is seen, the inside of the mouth with it."""
    points = np.concatenate([skin.points[skin.seen], skin.mouth.reshape(-1, 3)])
    colours = np.concatenate([skin.colours[skin.seen], skin.mouth_colours.reshape(-1, 3)])
    return points, np.clip(colours, 0, 255).astype(np.uint8)


def _truth(skin: _Skin, database: str) -> Truth:
    points, colours = _all_places(skin)
    low = np.floor(points[:, :2].min(0))
    size = (np.ceil(points[:, :2].max(0)) - low).astype(int) + 1
    # Onto half millimetres first: of each whole one the place next to its node is taken.
    index = _splat((points[:, :2] - low) * 4, points[:, 2], (4 * size[1], 4 * size[0]))
    index = _closed(index, 2)[::4, ::4]
    valid = index >= 0
    order = {"bu3dfe": bu3dfe.POINT_NAMES, "bosphorus": LANDMARKS}[database]
    return Truth(
        depth=np.where(valid, points[index, 2], np.nan).astype(np.float32),
        rgb=np.where(valid[..., None], colours[index], 0).astype(np.uint8),
        valid=valid,
        x0=float(low[0]),
        y0=float(low[1]),
        landmarks=np.stack([skin.landmarks[name] for name in order]),
        rotation=skin.rotation,
        translation=skin.translation,
    )


def _picture(skin: _Skin, view: np.ndarray, background: tuple[int, int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The face seen along the z of a rotated frame: (H, W, 3) uint8, and the (x, y) of its left lower corner."""
    points, colours = _all_places(skin)
    turned = points @ view.T
    low = turned[:, :2].min(0) - 4
    width, height = np.ceil((turned[:, :2].max(0) + 4 - low) / _PIXEL).astype(int)
    at = np.stack([(turned[:, 0] - low[0]) / _PIXEL, height - 1 - (turned[:, 1] - low[1]) / _PIXEL], axis=1)
    index = _closed(_splat(at, turned[:, 2], (height, width)), 3)
    return np.where((index >= 0)[..., None], colours[index], background).astype(np.uint8), low


def _in_picture(points: np.ndarray, view: np.ndarray, low: np.ndarray, shape: tuple) -> np.ndarray:
    """(N, 2) columns and rows of points in such a picture, as shares of its width and height from the top left."""
    turned = points @ view.T
    cols, rows = (turned[:, 0] - low[0]) / _PIXEL, shape[0] - 1 - (turned[:, 1] - low[1]) / _PIXEL
    return np.stack([(cols + 0.5) / shape[1], (rows + 0.5) / shape[0]], axis=1)


def _mesh_scan(identity: ScanId, skin: _Skin, rng: np.random.Generator, clean: bool) -> Scan:
    points, triangles = _mesh(skin, rng)
    texture, uv, uv_triangles = _two_views(skin, points, triangles)
    if not clean:
        normals = _vertex_normals(points, triangles)
        points = _noisy(points, normals, rng, spikes=rng.integers(8, 24))
        whole = ~_in_holes(points[triangles].mean(1), skin, rng)
        triangles, uv_triangles = triangles[whole], uv_triangles[whole]
    landmarks = {name: skin.landmarks[name] for name in bu3dfe.POINT_NAMES}
    return Scan(identity, points, triangles, uv, uv_triangles, texture, landmarks)


def _mesh(skin: _Skin, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Irregular vertices about 2.25 mm apart, and along both lips; triangles between them, none across the mouth."""
    cols = np.arange(face.A[0], face.A[-1], _VERTEX_SPACING)
    rows = np.arange(face.B[0], face.B[-1], _VERTEX_SPACING * 0.87)
    grid = np.stack(np.meshgrid(cols, rows), axis=-1)
    grid[1::2, :, 0] += _VERTEX_SPACING / 2
    places = (grid + rng.uniform(-0.3, 0.3, grid.shape) * _VERTEX_SPACING).reshape(-1, 2)
    corners = [skin.places[f"lip_inner_{k}"][0] for k in (0, 4)]
    line = (skin.places["lip_inner_2"][1] + skin.places["lip_inner_6"][1]) / 2
    along = np.linspace(*corners, 40)
    near = (np.abs(places[:, 1] - line) < 1.3) & (places[:, 0] > corners[0]) & (places[:, 0] < corners[1])
    lips = np.concatenate([np.stack([along, np.full(40, line + side * face.STEP)], 1) for side in (1, -1)])
    places = np.concatenate([places[~near], lips])
    seen = face.sample(skin.seen[None].astype(float), places)[:, 0] > 0.99
    places = places[seen]
    triangles = scipy.spatial.Delaunay(places).simplices
    points = face.sample(np.moveaxis(skin.points, -1, 0), places)
    height = places[triangles, 1] - line
    over_slit = (height.max(1) > 0) & (height.min(1) < 0) & (np.abs(places[triangles, 0].mean(1)) < corners[1])
    longest = np.linalg.norm(points[triangles] - points[np.roll(triangles, 1, axis=1)], axis=-1).max(1)
    flat = np.linalg.norm(places[triangles] - places[np.roll(triangles, 1, axis=1)], axis=-1).max(1)
    triangles = triangles[~(over_slit & (longest > 3)) & (flat < 3.5 * _VERTEX_SPACING)]
    turned = np.cross(*(points[triangles[:, k]] - points[triangles[:, 0]] for k in (1, 2)))[:, 2] < 0
    triangles[turned] = triangles[turned][:, ::-1]
    used, triangles = np.unique(triangles, return_inverse=True)
    return points[used], triangles.reshape(-1, 3).astype(np.int32)


def _two_views(skin: _Skin, points: np.ndarray, triangles: np.ndarray):
    """BU-3DFE's picture: right half the upright view of the x < 0 side, left half the other side turned by 180°."""
    middle = points[:, 0].mean()
    halves, places = [], []
    for yaw in (-_VIEW_YAW, _VIEW_YAW):  # seen from the subject's left, then from the right
        view = scipy.spatial.transform.Rotation.from_euler("y", yaw).as_matrix()
        picture, low = _picture(skin, view, (44, 48, 54))
        halves.append(picture)
        places.append(_in_picture(points, view, low, picture.shape))
    height = max(half.shape[0] for half in halves)
    width = max(half.shape[1] for half in halves)
    atlas = np.full((height, 2 * width, 3), (44, 48, 54), np.uint8)
    left, right = halves
    atlas[: left.shape[0], : left.shape[1]] = left[::-1, ::-1]
    atlas[: right.shape[0], width : width + right.shape[1]] = right
    scale = [np.array(half.shape[1::-1]) / [2 * width, height] for half in halves]
    uv_left, uv_right = (1 - places[0]) * scale[0], places[1] * scale[1] + [0.5, 0]
    # Each triangle belongs to the view that faces it; a vertex on the seam has a texture point in both.
    on_right = points[triangles, 0].mean(1) < middle
    corners = triangles + np.where(on_right, len(points), 0)[:, None]
    used, uv_triangles = np.unique(corners, return_inverse=True)
    uv = np.concatenate([uv_left, uv_right])[used]
    return atlas, uv.astype(np.float32), uv_triangles.reshape(-1, 3).astype(np.int32)


def _grid_scan(identity: ScanId, skin: _Skin, rng: np.random.Generator, clean: bool) -> Scan:
    view = np.eye(3)
    picture, corner = _picture(skin, view, (20, 20, 24))
    every, _ = _all_places(skin)
    low = every[:, :2].min(0)
    size = np.ceil((every[:, :2].max(0) - low) / _GRID_SPACING).astype(int) + 1
    index = _closed(_splat((every[:, :2] - low) / _GRID_SPACING, every[:, 2], (size[1], size[0])), 1)
    taken = index >= 0
    points = every[index[taken]].copy()
    rows, cols = np.nonzero(taken)
    points[:, :2] = low + np.stack([cols, rows], axis=1) * _GRID_SPACING
    if not clean:
        points = _noisy(points, np.broadcast_to([0, 0, 1.0], points.shape), rng, spikes=rng.integers(20, 60))
        whole = ~_in_holes(points, skin, rng)
        taken[rows[~whole], cols[~whole]] = False
        points = points[whole]
    grid = np.full(taken.shape, -1, np.int32)
    grid[taken] = np.arange(len(points))
    triangles = bosphorus.grid_triangles(grid)
    uv = _in_picture(points, view, corner, picture.shape).astype(np.float32)
    landmarks = {name: skin.landmarks[name] for name in LANDMARKS}
    return Scan(identity, points, triangles, uv, triangles, picture, landmarks, grid)


def _vertex_normals(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    faces = np.cross(
        points[triangles[:, 1]] - points[triangles[:, 0]], points[triangles[:, 2]] - points[triangles[:, 0]]
    )
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, triangles[:, corner], faces)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)


def _noisy(points: np.ndarray, normals: np.ndarray, rng: np.random.Generator, spikes: int) -> np.ndarray:
    points = points + normals * rng.normal(0, rng.uniform(0.2, 0.4), (len(points), 1))
    struck = rng.choice(len(points), spikes, replace=False)
    away = normals[struck] + rng.normal(0, 0.35, (spikes, 3))
    away *= rng.choice([-1, 1], (spikes, 1), p=[0.3, 0.7]) * rng.uniform(5, 40, (spikes, 1))
    points[struck] += away / np.linalg.norm(normals[struck] + 1e-9, axis=1, keepdims=True)
    return points


def _in_holes(points: np.ndarray, skin: _Skin, rng: np.random.Generator) -> np.ndarray:
    """Which points lie in a hole: a few anywhere, some more where scanners lose dark or hidden skin."""
    favourites = [
        name for name in skin.landmarks if name.startswith(("lip_inner", "nose_4", "nose_7", "right_brow", "left_brow"))
    ]
    centres = [points[rng.integers(len(points))] for _ in range(rng.integers(2, 6))]
    centres += [skin.landmarks[str(name)] for name in rng.choice(favourites, rng.integers(1, 4), replace=False)]
    lost = np.zeros(len(points), bool)
    for centre in centres:
        ragged = rng.uniform(0.8, 1.25, len(points))
        lost |= np.linalg.norm(points - centre, axis=1) * ragged < rng.uniform(1.5, 4.5)
    return lost
