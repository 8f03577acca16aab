"""Views of synthetic heads and of other things, with what the networks shall say of them; made once, in parallel."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation
from tqdm import tqdm

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.geometry.alignment import AlignmentFault, align, to_canonical
from afnet_jax.landmarks import bodies, views
from afnet_jax.landmarks.subjects import TrainingHead, draw_head
from afnet_jax.scans.scan import LANDMARKS
from afnet_jax.workers import worker_processes

MARGIN = 8  # pixels round an upright view, for shifts
_PER_FILE = 50  # heads
_COARSE_TURN = (35.0, 70.0, 35.0)  # degrees about x (pitch), y (yaw) and z (roll)
_FINE_TURN = 5.0  # degrees, standard deviation about each axis
_FINE_SHIFT = 5.0  # mm, the same
_HIDDEN = 4.0  # mm behind what a camera sees

Views = dict[str, np.ndarray]


def make_views(heads: int, seed: int, folder: Path, workers: int) -> Path:
    """Writes the views of so many heads, rounded up to whole files of `_PER_FILE`; those that are there are kept."""
    folder.mkdir(parents=True, exist_ok=True)
    job = functools.partial(_write_file, seed=seed, folder=folder)
    with worker_processes(workers) as pool:
        files = range(-(-heads // _PER_FILE))
        list(tqdm(pool.map(job, files), total=len(files), desc="views", unit="file", mininterval=5))
    return folder


def _write_file(number: int, *, seed: int, folder: Path) -> None:
    path = folder / f"views-{seed}-{number:04d}.npz"
    if path.exists():
        return
    rows = [views_of(k, seed) for k in range(number * _PER_FILE, (number + 1) * _PER_FILE)]
    write_arrays_atomically(path, {name: np.concatenate([row[name] for row in rows]) for name in rows[0]})


def load_views(folder: Path, heads: int, seed: int) -> Views:
    """Returns the views of the first `heads` heads, rounded up as `make_views` does, in one array a name."""
    paths = [folder / f"views-{seed}-{number:04d}.npz" for number in range(-(-heads // _PER_FILE))]
    rows = [dict(np.load(path)) for path in paths]
    return {name: np.concatenate([row[name] for row in rows]) for name in rows[0]}


def views_of(number: int, seed: int) -> Views:
    """Draws three upright and three turned views of a head; of each three the last may show no face.

    Returns:
        fine (3, 112, 112) float16 mm, fine_places (3, 22, 2) pixels (col, row), fine_face (3,) bool;
        coarse (3, 96, 96) float16 mm, coarse_middle (3, 3) pixels and mm (col, row, z), coarse_turn (3, 3, 3) the
        rotation from the face's frame to the view's, coarse_face (3,) bool; landmarks (1, 22, 3) canonical mm.
    """
    rng = np.random.default_rng([seed, number, 0x2B])
    head = _canonical_head(number, seed)
    fine = [_upright(head, rng) for _ in range(2)]
    fine.append(_upright(head, rng) if rng.random() < 0.35 else _no_upright_face(head, rng))
    coarse = [_turned(head, rng) for _ in range(2)]
    coarse.append(_turned(head, rng) if rng.random() < 0.35 else _no_turned_face(head, rng))
    rows = {"fine": fine, "coarse": coarse}
    names = {"fine": ("fine", "fine_places", "fine_face"),
             "coarse": ("coarse", "coarse_middle", "coarse_turn", "coarse_face")}  # fmt: skip
    stacked = {
        name: np.stack([np.asarray(row[k]) for row in rows[kind]])
        for kind in names
        for k, name in enumerate(names[kind])
    }
    return stacked | {"landmarks": head.landmarks[None]}


def _canonical_head(number: int, seed: int) -> TrainingHead:
    """The head in the canonical frame; where the drawn face is too odd for a pose, another one's."""
    while True:
        head = draw_head(number, seed)
        try:
            to_head = align(dict(zip(LANDMARKS, head.landmarks, strict=True)))
        except AlignmentFault:
            number += 1_000_000
            continue
        return TrainingHead(to_canonical(head.points, to_head), head.triangles, to_canonical(head.landmarks, to_head))


def _upright(head: TrainingHead, rng: np.random.Generator) -> tuple:
    """A view from the front whose pose is a little wrong, sometimes of a scan that a turned camera took."""
    triangles = head.triangles
    if rng.random() < 0.35:
        triangles = _seen_by_camera(head, _drawn_turn(rng))
    turn = Rotation.from_rotvec(np.radians(rng.normal(0, _FINE_TURN, 3))).as_matrix()
    shift = rng.normal(0, _FINE_SHIFT, 3) * [1, 1, 0]
    return _fine_view(head.points, triangles, head.landmarks, turn, shift)


def _fine_view(points, triangles, landmarks, turn, shift) -> tuple:
    def moved(at: np.ndarray) -> np.ndarray:
        return (at - views.FACE_MIDDLE) @ turn.T + views.FACE_MIDDLE + shift

    grid = views.fine_grid(MARGIN)
    row, col = grid.to_pixels(moved(landmarks))
    depth = views.depth_image(moved(points), triangles, grid)
    return depth.astype(np.float16), np.stack([col, row], axis=1).astype(np.float32), True


def _no_upright_face(head: TrainingHead, rng: np.random.Generator) -> tuple:
    """A head in a pose that is far off, or something else."""
    if rng.random() < 0.5:
        turn, shift = Rotation.random(random_state=rng).as_matrix(), np.zeros(3)
        if rng.random() < 0.6:
            axis = rng.normal(0, 1, 3)
            turn = Rotation.from_rotvec(np.radians(rng.uniform(30, 70)) * axis / np.linalg.norm(axis)).as_matrix()
        if rng.random() < 0.3:
            angle = rng.uniform(0, 2 * np.pi)
            shift = rng.uniform(40, 90) * np.array([np.cos(angle), np.sin(angle), 0])
        if np.trace(turn) > 1 + 2 * np.cos(np.radians(28)):
            shift = shift + np.array([0, 60, 0])
        view = _fine_view(head.points, head.triangles, head.landmarks, turn, shift)
    else:
        points, triangles = bodies.thing(rng)
        turn = Rotation.random(random_state=rng).as_matrix()
        centred = (points - points.mean(axis=0)) @ turn.T + views.FACE_MIDDLE + rng.normal(0, 30, 3)
        view = _fine_view(centred, triangles, head.landmarks, np.eye(3), np.zeros(3))
    return *view[:2], False


def _drawn_turn(rng: np.random.Generator) -> np.ndarray:
    """A rotation as heads turn before a camera, the small ones more often than the large."""
    pitch, yaw, roll = (rng.uniform(-most, most) * rng.uniform(0.3, 1) for most in _COARSE_TURN)
    return Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()


def _seen_by_camera(head: TrainingHead, turn: np.ndarray) -> np.ndarray:
    """The triangles of a head that a camera sees once the head is turned."""
    points = head.points @ turn.T
    grid = views.square_grid(turn @ views.FACE_MIDDLE, 128, 2.5)
    depth = views.depth_image(points, head.triangles, grid)
    row, col = (np.rint(at).astype(int).clip(0, grid.size - 1) for at in grid.to_pixels(points))
    seen = points[:, 2] > np.nan_to_num(depth[row, col], nan=-np.inf) - _HIDDEN
    a, b, c = (points[head.triangles[:, k]] for k in range(3))
    forward = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0] > 0
    return head.triangles[forward & seen[head.triangles].all(axis=1)]


def _turned(head: TrainingHead, rng: np.random.Generator) -> tuple:
    turn = _drawn_turn(rng)
    return _coarse_view(head.points, head.triangles, turn, rng, True)


def _coarse_view(points, triangles, turn, rng, is_face: bool) -> tuple:
    points, middle = points @ turn.T, turn @ views.FACE_MIDDLE
    grid = views.square_grid(middle[:2] + rng.uniform(-50, 50, 2), views.COARSE_SIZES[0], views.COARSE_STEP)
    row, col = grid.to_pixels(middle[None])
    depth = views.depth_image(points, triangles, grid)
    place = np.array([col[0], row[0], middle[2]], np.float32)
    return depth.astype(np.float16), place, turn.astype(np.float32), is_face


def _no_turned_face(head: TrainingHead, rng: np.random.Generator) -> tuple:
    if rng.random() < 0.25:
        away = Rotation.from_euler("y", rng.uniform(125, 235), degrees=True).as_matrix()
        return _coarse_view(head.points, head.triangles, away @ _drawn_turn(rng), rng, False)
    points, triangles = bodies.thing(rng)
    points = points - points.mean(axis=0) + views.FACE_MIDDLE
    return _coarse_view(points, triangles, Rotation.random(random_state=rng).as_matrix(), rng, False)
