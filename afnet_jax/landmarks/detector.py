"""Finds a face and its landmarks in a scan whose pose is unknown: first coarsely, then in upright views.

The coarse network says where in a view a face is and how it is turned. The fine one sees the surface from where that
face looks and places its landmarks, from which the pose follows anew (`geometry.alignment`); the last views are
from that pose. Where the scan has colours, brows move to where they are seen (`landmarks.brows`).
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Sequence

import numpy as np
import scipy.ndimage
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.alignment import AlignmentFault, align, to_canonical
from afnet_jax.geometry.rendering import Grid, TexturedMesh
from afnet_jax.geometry.surface import SurfaceConfig, clean_surface
from afnet_jax.landmarks import views
from afnet_jax.landmarks.brows import brows_by_colour
from afnet_jax.landmarks.disturbances import MIRRORED
from afnet_jax.landmarks.network import CELL, HEIGHT_UNIT
from afnet_jax.landmarks.plausibility import judged
from afnet_jax.landmarks.weights import Detector, load_detector
from afnet_jax.scans.arrays import fault
from afnet_jax.scans.scan import LANDMARKS, Scan

_ROUNDS = 3  # of fine views
_AROUND = 5.0  # degrees between the upright view and those round it, whose mean the last round takes
_TURNS = tuple(Rotation.from_rotvec(np.radians(_AROUND) * np.array([*axis, 0.0])).as_matrix()
               for axis in ((0, 0), (1, 0), (-1, 0), (0, 1), (0, -1)))  # fmt: skip
_LEAST_HEAT = 0.25  # chance of a face in a cell, below which another view is tried
_LEAST_TRIANGLES = 50
_SIZES = (1.0, 1.4, 0.7)  # times the mm that a mesh of unknown unit was taken for
_PEAKS = 2  # places of a view that are looked at closely
_LEAST_PRESENCE = 0.5  # chance that the upright view shows a face
_SAME_SURFACE = 8.0  # mm off the middle height of a pixel's surroundings
_LEAST_CONFIDENCE = 0.3  # mean over the landmarks
_ANOTHER_FACE = 100.0  # mm between two faces; nearer ones are two poses of one


@dataclasses.dataclass(frozen=True)
class Found:
    """Landmarks of one face.

    Attributes:
        landmarks: name -> (3,) mm in the frame of the surface that was looked at: the scan's, times `size`.
        confidence: name -> 0 to 1.
        to_scan: (4, 4) from the canonical frame to that one.
        presence: chance that the upright view shows a face.
        size: by which the scan's coordinates were multiplied.
        clockwise: the triangles run so as seen from outside.
        other: mm from the face to another one that the surface shows; None where it shows none.
    """

    landmarks: dict[str, np.ndarray]
    confidence: dict[str, float]
    to_scan: np.ndarray
    presence: float
    size: float = 1.0
    clockwise: bool = False
    other: float | None = None

    @property
    def mean_confidence(self) -> float:
        return float(np.mean(list(self.confidence.values())))


def look_at(scan: Scan) -> tuple[dict[str, np.ndarray], dict[str, float], tuple[str, ...]]:
    """Does what `afnet_jax.landmarks.look_at` says."""
    kept = _surface(scan.points, scan.triangles)
    found = find_face(scan.points, scan.triangles[kept], scan.frontal)
    if isinstance(found, str):
        reason = f"no face found: {found}; expected one face's surface in mm, or give its landmarks"
        raise fault(scan, reason)
    if scan.coloured:
        found = _with_coloured_brows(found, scan, kept)
    remarks: tuple[str, ...] = ()
    if found.other is not None:
        remarks = (
            f"the surface shows another face, {found.other / found.size:.0f} mm from the one that was taken, which is "
            f"the likelier one: cut the other out, or give landmarks",
        )
    return {name: at / found.size for name, at in found.landmarks.items()}, found.confidence, remarks


def find_face(points: np.ndarray, triangles: np.ndarray, frontal: bool = True) -> Found | str:
    """Finds the face of a clean mesh, (N, 3) mm and (T, 3) indices; where there is none, says why in a few words.

    Args:
        frontal: as in Scan. Of a mesh that is not, triangles may also run clockwise, and its unit may be a guess:
            it is looked at in other sizes, too.
    """
    points = np.asarray(points, np.float64)
    if len(triangles) < _LEAST_TRIANGLES:
        return "the surface is made of loose bits"
    reasons = []
    for size, way in itertools.product((1.0,) if frontal else _SIZES, (1,) if frontal else (1, -1)):
        found = _in_any_view(points * size, triangles[:, ::way])
        if not isinstance(found, str):
            return dataclasses.replace(found, size=size, clockwise=way < 0)
        reasons.append(found)
    return reasons[0]


def _with_coloured_brows(found: Found, scan: Scan, kept: np.ndarray) -> Found:
    way = -1 if found.clockwise else 1
    mesh = TexturedMesh(
        to_canonical(scan.points * found.size, found.to_scan),
        scan.triangles[kept][:, ::way],
        scan.uv,
        scan.uv_triangles[kept][:, ::way],
        scan.texture,
    )
    upright = {name: to_canonical(at, found.to_scan) for name, at in found.landmarks.items()}
    moved = brows_by_colour(mesh, upright)
    turn, shift = found.to_scan[:3, :3], found.to_scan[:3, 3]
    return dataclasses.replace(
        found, landmarks={**found.landmarks, **{name: turn @ at + shift for name, at in moved.items()}}
    )


def _in_any_view(points: np.ndarray, triangles: np.ndarray) -> Found | str:
    detector = load_detector()
    best: Found | None = None
    faces: list[Found] = []
    seen_heat = 0.0
    for turn in _all_turns():
        for heat, to_scan in _candidates(detector, points, triangles, turn):
            seen_heat = max(seen_heat, heat)
            if heat < _LEAST_HEAT:
                continue
            found = _upright(detector, points, triangles, to_scan)
            if found and (best is None or found.mean_confidence > best.mean_confidence):
                best = found
            faces += [found] if found and _is_face(found) else []
        if best and _is_face(best):
            gaps = [float(np.linalg.norm(each.to_scan[:3, 3] - best.to_scan[:3, 3])) for each in faces]
            return dataclasses.replace(best, other=min((gap for gap in gaps if gap > _ANOTHER_FACE), default=None))
    if best is None:
        return f"nothing looks like one from any side (at best {seen_heat:.0%} likely)"
    if best.presence < _LEAST_PRESENCE:
        return f"what looks like one at first is none from the front ({best.presence:.0%} likely)"
    return f"its landmarks do not fit together (mean confidence {best.mean_confidence:.2f})"


def _is_face(found: Found) -> bool:
    return found.presence >= _LEAST_PRESENCE and found.mean_confidence >= _LEAST_CONFIDENCE


def _surface(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """(T,) bool: the triangles without spikes and, in a scanner's mesh, without bridges over gaps."""
    if not len(triangles):
        return np.zeros(0, bool)
    clean = clean_surface(points, triangles, SurfaceConfig())
    kept = clean.triangles
    if clean.area[clean.bridges].sum() > 0.1 * clean.area.sum():
        kept = kept | clean.bridges
    return kept


@functools.cache
def _all_turns() -> tuple[np.ndarray, ...]:
    """The 24 rotations of a cube: the identity first, then quarter turns about y, then about x and z."""
    turns = []
    for axes in itertools.permutations(range(3)):
        for signs in itertools.product((1, -1), repeat=3):
            turn = np.zeros((3, 3))
            turn[range(3), axes] = signs
            if np.linalg.det(turn) > 0:
                turns.append(turn)
    return tuple(sorted(turns, key=lambda turn: (-np.trace(turn) - turn[1, 1], tuple(turn.ravel()))))


def _candidates(
    detector: Detector, points: np.ndarray, triangles: np.ndarray, turn: np.ndarray
) -> list[tuple[float, np.ndarray]]:
    """Likely faces of one view: (chance, (4, 4) from the face's frame to the scan's), the likeliest first."""
    turned = points @ turn.T
    low, high = np.percentile(turned[np.unique(triangles)][::7, :2], [1, 99], axis=0)
    size = next((s for s in views.COARSE_SIZES if (high - low).max() < views.COARSE_STEP * s), views.COARSE_SIZES[-1])
    grid = views.square_grid((low + high) / 2, size, views.COARSE_STEP)
    out, mean = detector.faces(views.depth_image(turned, triangles, grid))
    chance = 1 / (1 + np.exp(-out[..., 0]))
    peaks = (chance == scipy.ndimage.maximum_filter(chance, 3)) & (chance > 0.02)
    order = sorted(np.argwhere(peaks).tolist(), key=lambda at: -chance[at[0], at[1]])[:_PEAKS]
    found = []
    for row, col in order:
        middle, rotation = _voted(chance, out, mean, row, col)
        at = [grid.origin[0] + grid.step * middle[0], grid.origin[1] - grid.step * middle[1], middle[2]]
        to_scan = np.eye(4)
        to_scan[:3, :3] = turn.T @ rotation
        to_scan[:3, 3] = turn.T @ np.array(at) - to_scan[:3, :3] @ views.FACE_MIDDLE
        found.append((float(chance[row, col]), to_scan))
    return found


def _voted(chance: np.ndarray, out: np.ndarray, mean: np.ndarray, row: int, col: int) -> tuple[np.ndarray, np.ndarray]:
    """The middle (col, row in pixels, z in mm) and the rotation on which the cells round a peak agree."""
    rows, cols = (slice(max(at - 1, 0), at + 2) for at in (row, col))
    weights = chance[rows, cols].ravel()
    weights = weights / weights.sum()
    block = out[rows, cols].reshape(-1, out.shape[-1])
    at_row, at_col = (at.ravel() for at in np.mgrid[rows.start : rows.start + out[rows, cols].shape[0],
                                                    cols.start : cols.start + out[rows, cols].shape[1]])  # fmt: skip
    cell = np.stack([at_col + block[:, 1], at_row + block[:, 2]], axis=1)
    pixel = CELL * (weights @ cell + 0.5) - 0.5
    height = weights @ (mean[rows, cols].ravel() + HEIGHT_UNIT * block[:, 3])
    x, y = weights @ block[:, 4:7], weights @ block[:, 7:10]
    u, _, vt = np.linalg.svd(np.stack([x, y, np.cross(x, y)], axis=1))
    return np.array([*pixel, height]), u @ np.diag([1, 1, np.sign(np.linalg.det(u @ vt))]) @ vt


def _upright(detector: Detector, points: np.ndarray, triangles: np.ndarray, to_scan: np.ndarray) -> Found | None:
    """Places the landmarks of the face in a pose near `to_scan`; None where the pose leads to no face."""
    for number in range(_ROUNDS):
        upright = to_canonical(points, to_scan)
        turns = _TURNS if number == _ROUNDS - 1 else _TURNS[:1]
        depths = np.stack(
            [views.depth_image(_about_middle(upright, turn), triangles, views.fine_grid()) for turn in turns]
        )
        if np.isfinite(depths[0]).mean() < 0.05:
            return None
        places, confidence, presence = _placed(detector, depths, turns)
        if number == 0 and presence < 0.05:
            return None
        at = places @ to_scan[:3, :3].T + to_scan[:3, 3]
        landmarks = dict(zip(LANDMARKS, at, strict=True))
        try:
            to_scan = align(landmarks, frontal=False)
        except AlignmentFault:
            return None
    return Found(landmarks, dict(zip(LANDMARKS, map(float, confidence), strict=True)), to_scan, presence)


def _about_middle(points: np.ndarray, turn: np.ndarray) -> np.ndarray:
    """Turns (N, 3) canonical points about the middle of the face."""
    return (points - views.FACE_MIDDLE) @ turn.T + views.FACE_MIDDLE


def _placed(
    detector: Detector, depths: np.ndarray, turns: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Places the landmarks in views of a face from several sides and in their mirror images.

    Args:
        depths: (V, H, W) mm, the upright view first.
        turns: from the upright view to each.

    Returns:
        (22, 3) canonical mm, (22,) confidence, and the chance of a face.
    """
    # A view and its mirror image at a time: one program serves any number of views.
    pixels, face = map(
        np.stack, zip(*(detector.places(np.stack([view, view[:, ::-1]])) for view in depths), strict=True)
    )
    direct, mirrored = pixels[:, 0], (pixels[:, 1] * [-1, 1] + [depths.shape[2] - 1, 0])[:, MIRRORED]
    disagreement = np.linalg.norm((direct - mirrored).mean(axis=0), axis=1) * views.FINE_STEP
    grid = views.fine_grid()
    lifted = [_lifted(depth, pixel, grid) for depth, pixel in zip(depths, (direct + mirrored) / 2, strict=True)]
    at = np.mean([_about_middle(seen, turn.T) for (seen, _), turn in zip(lifted, turns, strict=True)], axis=0)
    presence = float(1 / (1 + np.exp(-face.mean())))
    likely, confidence = judged(detector.prior, at, disagreement, np.mean([gap for _, gap in lifted], axis=0))
    row, col = grid.to_pixels(likely)
    on, gap = _lifted(depths[0], np.stack([col, row], axis=1), grid)
    on_surface = (gap < 3.0) & (np.abs(on[:, 2] - likely[:, 2]) < 12.0)
    likely[:, 2] = np.where(on_surface, on[:, 2], likely[:, 2])
    return likely, confidence * presence, presence


def _lifted(depth: np.ndarray, pixels: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """(K, 3) mm of (K, 2) pixels (col, row) laid onto the surface, and how many mm off the surface each is read."""
    height, distance = height_at(depth, pixels)
    x, y = grid.origin[0] + grid.step * pixels[:, 0], grid.origin[1] - grid.step * pixels[:, 1]
    return np.stack([x, y, height], axis=1), distance * grid.step


def height_at(depth: np.ndarray, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Heights of the surface at (K, 2) pixels (col, row), and how many pixels off the surface they are read.

    A height is that of the plane that best fits the valid pixels within 1.5 of the nearest valid one.
    """
    size = len(depth)
    heights, distances = np.full(len(pixels), np.nan), np.full(len(pixels), np.inf)
    everywhere = None
    for k, (col, row) in enumerate(pixels.clip(0, size - 1)):
        top, left = max(int(row) - 2, 0), max(int(col) - 2, 0)
        patch = depth[top : top + 6, left : left + 6]
        known = np.argwhere(np.isfinite(patch)) + np.array([top, left])
        if not len(known):
            everywhere = np.argwhere(np.isfinite(depth)) if everywhere is None else everywhere
            known = everywhere
        heights[k], distances[k] = _height_near(depth, known, row, col)
    return heights, distances


def _height_near(depth: np.ndarray, known: np.ndarray, row: float, col: float) -> tuple[float, float]:
    """The height at a place, and how many pixels off it is read, from (N, 2) valid pixels (row, col)."""
    off = np.hypot(known[:, 0] - row, known[:, 1] - col)
    least = off.min()
    near = known[off < max(1.6, least + 0.8)]
    values = depth[near[:, 0], near[:, 1]].astype(np.float64)
    good = np.abs(values - np.sort(values)[len(values) // 2]) < _SAME_SURFACE
    near, values = near[good] - (row, col), values[good]
    if len(near) >= 4 and least < 1.0:
        terms = np.column_stack([near, np.ones(len(near))])
        solution, _, rank, _ = np.linalg.lstsq(terms, values, rcond=None)
        if rank == 3:
            return float(np.clip(solution[2], values.min(), values.max())), 0.0
    return float(values.mean()), max(least - 0.75, 0.0)
