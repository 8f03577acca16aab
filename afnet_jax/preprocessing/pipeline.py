"""From a scan to the network's inputs: clean, align, look from the front, fit, fill, paint, mask."""

from __future__ import annotations

import dataclasses
import functools
from typing import NamedTuple

import numpy as np
import scipy.ndimage
import threadpoolctl

from afnet_jax.geometry.alignment import TEMPLATE, AlignmentFault, align, to_canonical
from afnet_jax.geometry.rendering import Grid, Raster, TexturedMesh, rasterize, render_texture
from afnet_jax.geometry.surface import CleanSurface, SurfaceConfig, clean_surface
from afnet_jax.maps import IMAGE_SIZE
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.gridfit import gridfit
from afnet_jax.preprocessing.losses import losses
from afnet_jax.preprocessing.masks import inner_face, salient_masks
from afnet_jax.preprocessing.point_sample import PointSample, sample_points
from afnet_jax.scans.arrays import fault
from afnet_jax.scans.landmark_distance import FURTHEST_MM, distances_to_surface
from afnet_jax.scans.scan import Scan

_NOSE_BOX = (14.0, -46.0, -14.0)  # canonical mm: |x| at most, y from, y to

_FARTHEST_TIP = 12.0  # mm from its place in TEMPLATE: what is further off, and lies behind it, is the rim of a hole
_PART = 0.02  # share of the inner face that a part cut off from the largest must show to be face, too
_HIDDEN = 1.0  # mm: less is noise
_FAR = 30.0  # mm from its place in TEMPLATE: no face has a landmark there, but those that an open mouth moves
_FAR_WITH_JAW = 50.0
_IN_ORDER = (  # pairs that lie to one another as in TEMPLATE, whatever the expression
    ("upper_lip_outer", "lower_lip_outer"),
    ("mouth_left", "mouth_right"),
    *((f"{side}_{part}_outer", f"{side}_{part}_inner") for side in ("left", "right") for part in ("eye", "brow")),
)
_JAW = ("lower_lip_inner", "lower_lip_outer", "chin")
_TOLERANCE = 1e-4  # of the range of heights: 0.01 mm


@dataclasses.dataclass(frozen=True)
class PreprocessingConfig:
    """Every parameter of preprocessing.

    Attributes:
        mm_per_pixel: 224 pixels then span 235 mm: hairline to chin of a large face with its mouth wide open.
        top: canonical y of the first row, mm. The eyes lie at 0, so that 145 mm are left below them.
        surface: what counts as an outlier.
        smoothness_per_noise: gridfit's weight of smoothness for each mm of noise that the scan shows: what smooths
            a noisy surface best takes the edges off a clean one. Chosen by the error against known surfaces.
        smoothness_per_edge: the least of it, for each mm between the scan's points: between sparse points a stiff
            surface swings less.
        large_edge, large_share: if triangles with an edge longer than this, mm, make up this share of what is seen,
            the fit sees triangles and not their corners alone.
        sampled_edge: mm, longest edge of a triangle whose inside is then seen, too.
        remarked_loss: share of the inner face beyond which its loss is remarked on.
        remarked_holes: share of the face beyond which holes in the scan are; an open mouth is 0.05.
        min_face: share of the grid that must be face.
        farthest: canonical z, mm, behind which a surface is background; ears and neck lie before it.
    """

    mm_per_pixel: float = 1.05
    top: float = 90.0
    surface: SurfaceConfig = dataclasses.field(default_factory=SurfaceConfig)
    smoothness_per_noise: float = 5.0
    smoothness_per_edge: float = 0.4
    large_edge: float = 6.0
    large_share: float = 0.1
    sampled_edge: float = 3.0
    min_face: float = 0.08
    remarked_loss: float = 0.05
    remarked_holes: float = 0.12
    farthest: float = -128.0

    @property
    def grid(self) -> Grid:
        """The grid of the maps: IMAGE_SIZE pixels along an edge."""
        left = -self.mm_per_pixel * (IMAGE_SIZE - 1) / 2
        return Grid(IMAGE_SIZE, self.mm_per_pixel, (left, self.top))


_CONFIG = PreprocessingConfig()


@dataclasses.dataclass(frozen=True)
class PosedPoints:
    """Points of a scan with their pose; attributes as those of FaceMaps."""

    points: PointSample
    to_scan: np.ndarray
    landmarks: dict[str, np.ndarray]
    remarks: tuple[str, ...]


def preprocess_given(scan: Scan) -> FaceMaps:
    """Makes the aligned maps of one face by the landmarks that come with its scan.

    Raises:
        ScanError: the scan has no landmarks, they give no pose, lie off the surface, or the surface is not a face's.
    """
    # Matrices here are small: BLAS threads would only get in the way of the scans that other processes prepare.
    with _thread_pools().limit(limits=1):
        return _preprocess(scan)


@functools.cache
def _thread_pools() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


def pose_points(scan: Scan) -> PosedPoints:
    """Cleans, poses and samples a scan, and leaves the rest to whoever renders the points.

    Raises:
        ScanError: as `preprocess`, but for a surface that is not a face's.
    """
    with _thread_pools().limit(limits=1):
        posed = _posed(scan)
        points = sample_points(scan, posed.clean.triangles, posed.to_scan)
        return PosedPoints(points, posed.to_scan, posed.landmarks, scan.remarks)


class _Posed(NamedTuple):
    """Holds what cleaning found out, the pose, landmarks and (N, 3) points in the canonical frame, and the masks."""

    clean: CleanSurface
    to_scan: np.ndarray
    landmarks: dict[str, np.ndarray]
    points: np.ndarray
    masks: dict[int, np.ndarray]


def _posed(scan: Scan) -> _Posed:
    if not len(scan.points) or not len(scan.triangles):
        raise fault(scan, "the scan holds no surface, only background")
    if not scan.landmarks:
        raise fault(
            scan, "no landmarks: give them in a file beside the scan (.lm3, .bnd; of a mesh NAME.landmarks.json)"
        )
    clean = clean_surface(scan.points, scan.triangles, _CONFIG.surface)
    if not clean.triangles.any():
        raise fault(scan, "no surface is left once outliers are removed")
    to_scan, landmarks = pose_of(scan, clean.points)
    points = to_canonical(scan.points, to_scan)
    _check_landmarks(scan, points[clean.points], landmarks)
    try:
        masks = salient_masks(landmarks, _CONFIG.grid)
    except AlignmentFault as error:
        raise fault(scan, str(error)) from None
    return _Posed(clean, to_scan, landmarks, points, masks)


def _preprocess(scan: Scan) -> FaceMaps:
    grid = _CONFIG.grid
    clean, to_scan, landmarks, points, masks = _posed(scan)
    near = clean.triangles & (points[scan.triangles, 2] > _CONFIG.farthest).all(axis=1)
    triangles, uv_triangles = scan.triangles[near], scan.uv_triangles[near]
    mesh = TexturedMesh(points, triangles, scan.uv, uv_triangles, scan.texture)
    raster = rasterize(points, triangles, grid)
    valid = face_region(raster.seen, inner_face(landmarks, grid))
    if valid.mean() < _CONFIG.min_face:
        raise fault(scan, f"the face fills {valid.mean():.1%} of the grid, at least {_CONFIG.min_face:.0%} expected")
    lost = losses(points, scan.triangles, clean, raster, landmarks, grid)
    inside = _inside_large(clean.longest[near], raster, grid)
    edge = min(clean.edge, _CONFIG.sampled_edge) if len(inside) else clean.edge
    smoothness = max(_CONFIG.smoothness_per_noise * clean.noise, _CONFIG.smoothness_per_edge * edge)
    samples = np.vstack([_visible(points, triangles, raster, grid), inside])
    depth = _heights(samples, valid, grid, smoothness)
    texture = render_texture(mesh, raster, depth, valid, grid)
    filled = float(1 - raster.seen[valid].mean())
    return FaceMaps(
        id=scan.id,
        texture=np.round(np.clip(texture, 0, 255)).astype(np.uint8),
        depth=np.where(valid, depth, np.nan).astype(np.float32),
        valid=valid,
        seen=raster.seen & valid,
        masks=masks,
        to_scan=to_scan,
        origin=grid.origin,
        mm_per_pixel=grid.step,
        landmarks=landmarks,
        quality={
            "noise": clean.noise,
            "points_removed": float(1 - clean.points.mean()),
            **lost,
            "filled": filled,
            "face": float(valid.mean()),
            "landmarks": "given",
        },
        remarks=scan.remarks + _misplaced_remark(landmarks) + _loss_remark(lost) + _hole_remark(filled),
        points=sample_points(scan, clean.triangles, to_scan),
    )


def _loss_remark(lost: dict[str, float]) -> tuple[str, ...]:
    """Returns a remark where much of the inner face is lost; alike for all such scans, so that they can be listed."""
    if lost["inner_lost"] <= _CONFIG.remarked_loss:
        return ()
    return (
        f"more than {_CONFIG.remarked_loss:.0%} of the inner face is filled in or left out, as its triangles count as "
        f"outliers or as bridges over gaps (inner_lost of the scan's quality): look at the mesh there",
    )


def _hole_remark(filled: float) -> tuple[str, ...]:
    """Returns a remark where the scan itself has large holes; alike for all such scans."""
    if filled <= _CONFIG.remarked_holes:
        return ()
    return (
        f"more than {_CONFIG.remarked_holes:.0%} of the face is filled in, as the scan has no surface there (filled of "
        f"its quality): look at the mesh",
    )


def _misplaced_remark(landmarks: dict[str, np.ndarray]) -> tuple[str, ...]:
    """Returns a remark on landmarks that lie where no face has them, as where two of them are exchanged."""
    off = {name: np.linalg.norm(at - TEMPLATE[name]) for name, at in landmarks.items() if name in TEMPLATE}
    far = {name for name, gap in off.items() if gap > (_FAR_WITH_JAW if name in _JAW else _FAR)}
    for pair in _IN_ORDER:
        if pair[0] in off and pair[1] in off:
            found, usual = (places[pair[0]] - places[pair[1]] for places in (landmarks, TEMPLATE))
            far |= set(pair if found @ usual < 0 else ())
    if not far:
        return ()
    return (f"landmarks far from where a face has them, perhaps under wrong names: {', '.join(sorted(far))}",)


def pose_of(scan: Scan, good: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Finds the pose of a scan by its landmarks, the nose tip on the surface where no landmark tells it.

    Args:
        scan: with landmarks.
        good: (N,) bool, its points that are no outliers.

    Returns:
        (4, 4) from the canonical frame to the scan's, and the landmarks in the canonical frame, nose tip included.
    """
    landmarks = {name: np.asarray(at, dtype=np.float64) for name, at in scan.landmarks.items()}
    found = "nose_tip" not in landmarks
    try:
        to_scan = align(landmarks, frontal=scan.frontal)
        for _ in range(2 if found else 0):
            tip = _nose_tip(to_canonical(scan.points[good], to_scan))
            if tip is None or _is_rim(tip):
                break
            landmarks["nose_tip"] = to_scan[:3, :3] @ tip + to_scan[:3, 3]
            to_scan = align(landmarks, frontal=scan.frontal)
    except AlignmentFault as error:
        raise fault(scan, str(error)) from None
    return to_scan, {name: to_canonical(at, to_scan) for name, at in landmarks.items()}


def _nose_tip(points: np.ndarray) -> np.ndarray | None:
    """The foremost place between the eyes and the mouth: mean of the points within 1 mm of it."""
    half_width, low, high = _NOSE_BOX
    box = points[(np.abs(points[:, 0]) < half_width) & (points[:, 1] > low) & (points[:, 1] < high)]
    return box[box[:, 2] > box[:, 2].max() - 1].mean(axis=0) if len(box) else None


def _is_rim(tip: np.ndarray) -> bool:
    """Whether the foremost place is the rim of a hole where the tip was; a large nose is far off, too, but in front."""
    offset = tip - TEMPLATE["nose_tip"]
    return bool(np.linalg.norm(offset) > _FARTHEST_TIP and offset[2] < 0)


def _check_landmarks(scan: Scan, points: np.ndarray, landmarks: dict) -> None:
    """Refuses landmarks that do not lie on the surface that is left once outliers are removed."""
    names = [name for name in landmarks if name in scan.landmarks and name in TEMPLATE]  # those that are used
    at = np.stack([landmarks[name] for name in names])
    distance = distances_to_surface(points, at)
    off = distance > FURTHEST_MM
    if off.sum() > max(2, 0.15 * len(names)):
        worst = names[int(distance.argmax())]
        raise fault(
            scan,
            f"{off.sum()} of {len(names)} landmarks lie more than {FURTHEST_MM:g} mm off the surface "
            f"({worst} {distance.max():.0f} mm): do they belong to this scan?",
        )


def face_region(seen: np.ndarray, inner: np.ndarray | None = None) -> np.ndarray:
    """(H, W) bool: the largest connected part of what is seen, with cracks closed and interior holes filled.

    Args:
        seen: (H, W) bool.
        inner: (H, W) bool, the inner face: other parts that show some of it are face, too, as a gap may cut a face.
    """
    ball = scipy.ndimage.iterate_structure(scipy.ndimage.generate_binary_structure(2, 1), 2)
    closed = scipy.ndimage.binary_closing(np.pad(seen, 4), ball)[4:-4, 4:-4] | seen
    part, count = scipy.ndimage.label(closed)
    if count > 1:
        is_face = np.arange(count + 1) == 1 + np.argmax(np.bincount(part.ravel())[1:])
        if inner is not None:
            is_face |= np.bincount(part[inner], minlength=count + 1) > _PART * inner.sum()
        is_face[0] = False
        closed = is_face[part]
    return scipy.ndimage.binary_fill_holes(closed)


def _visible(points: np.ndarray, triangles: np.ndarray, raster: Raster, grid: Grid) -> np.ndarray:
    """(K, 3) the points of the mesh that nothing hides from the front.

    A point counts as hidden if it lies behind all that is seen within a pixel of it.
    """
    used = np.zeros(len(points), dtype=bool)
    used[triangles] = True
    row, col = (np.rint(place).astype(int) for place in grid.to_pixels(points))
    used &= (row >= 0) & (row < grid.size) & (col >= 0) & (col < grid.size)
    farthest = scipy.ndimage.minimum_filter(np.where(raster.seen, raster.depth, np.inf), 3)
    used[used] = points[used, 2] > farthest[row[used], col[used]] - _HIDDEN
    return points[used]


def _inside_large(longest: np.ndarray, raster: Raster, grid: Grid) -> np.ndarray:
    """(K, 3) places inside the large triangles, one in each pixel that sees one; none where the mesh is a scanner's.

    A scanner measures points, and a smooth surface through them is nearer to the face than the triangles between
    them. Where someone has simplified or modelled a mesh, its points are far apart and the triangles are the surface.
    """
    rows, cols = np.nonzero(raster.seen)
    longest = longest[raster.triangle[rows, cols]]
    if (longest > _CONFIG.large_edge).mean() < _CONFIG.large_share:
        return np.zeros((0, 3))
    rows, cols = rows[longest > _CONFIG.sampled_edge], cols[longest > _CONFIG.sampled_edge]
    return np.stack([grid.x[cols], grid.y[rows], raster.depth[rows, cols]], axis=1)


def _heights(points: np.ndarray, valid: np.ndarray, grid: Grid, smoothness: float) -> np.ndarray:
    """(size, size) heights of a smooth surface through the points, within a window round the face; NaN elsewhere."""
    rows, cols = (np.flatnonzero(valid.any(axis=axis)) for axis in (1, 0))
    window = np.s_[max(rows[0] - 2, 0) : rows[-1] + 3, max(cols[0] - 2, 0) : cols[-1] + 3]
    x, y = grid.x[window[1]], grid.y[window[0]][::-1]
    within = (points[:, 0] >= x[0]) & (points[:, 0] <= x[-1]) & (points[:, 1] >= y[0]) & (points[:, 1] <= y[-1])
    px, py, pz = points[within].T
    heights = gridfit(px, py, pz, x, y, smoothness, interpolation="bilinear", tolerance=_TOLERANCE)
    depth = np.full(valid.shape, np.nan)
    depth[window] = heights[::-1]
    return depth
