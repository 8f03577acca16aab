"""Measures how well landmarks are found on scans whose landmarks are known, turned at random, and what maps become.

    python -m benchmarks.landmarks --samples=FOLDER [--points=FILE.npz] [--mesh=FILE:FACTOR] [--run=RUN] [--turns=3]

FOLDER holds scans that `read_scan` reads, at any depth. FILE.npz holds raw points (N, 16384, 3) less `centre`, NaN
where a scan has fewer, their `colours` (uint8), `landmarks` (N, 22, 3) canonical mm with `landmark_names`, and
`to_scan` (N, 4, 4). Beside a mesh lies landmarks_mm.json, whose millimetres are the mesh's coordinates times FACTOR;
it is not turned, and its nose wings do not count. Face models differ in where a landmark lies by definition: errors are
printed with each name's mean offset over all scans left in and taken out. With a run, its labels by given and by found
landmarks are compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import scipy.spatial
from scipy.spatial.transform import Rotation

from afnet_jax.analysis.prediction import Predictor
from afnet_jax.analysis.run import load_run
from afnet_jax.datasets.records import drawn_maps
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.errors import AFNetError
from afnet_jax.geometry.alignment import align
from afnet_jax.geometry.surface import SurfaceConfig, clean_surface
from afnet_jax.geometry.triangles import longest_edges
from afnet_jax.landmarks import find_landmarks
from afnet_jax.paths import user_path
from afnet_jax.preprocessing import FaceMaps, preprocess
from afnet_jax.preprocessing.pipeline import pose_of
from afnet_jax.scans.databases import is_scan, read_scan, readable_databases
from afnet_jax.scans.meshes.paint import painted
from afnet_jax.scans.meshes.reader import READERS
from afnet_jax.scans.meshes.surface import Part, Surface
from afnet_jax.scans.raw_folder import files_below
from afnet_jax.scans.scan import LANDMARKS, Scan, ScanId

_MOST_TURNED = (25.0, 45.0, 25.0)  # degrees of pitch, yaw and roll
_LONGEST_EDGE = 8.0  # mm between neighbours of a scan's points


def main() -> None:
    args = _parsed()
    rng = np.random.default_rng(args.seed)
    labels = _labels(args.run) if args.run else None
    results = []
    for scan in _scans(args):
        for _ in range(args.turns):
            results.append(_measured(_turned(scan, rng), len(results) % args.maps_every == 0, labels))
            _say(f"{len(results)}: {scan.id.name} {results[-1].fault or ''}")
    if results:
        _print_landmarks(results)
        _print_maps(results)
    for mesh in args.mesh:
        _print_mesh(*mesh.rsplit(":", 1))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, action="append", default=[], help="folder of scans with landmarks")
    parser.add_argument("--points", type=Path, help="raw points with landmarks, .npz")
    parser.add_argument("--every", type=int, default=1, help="only every so many of the points' scans")
    parser.add_argument("--turns", type=int, default=3, help="random poses of each scan")
    parser.add_argument("--maps_every", type=int, default=5, help="maps are compared for every so many results")
    parser.add_argument(
        "--mesh", action="append", default=[], help="FILE:FACTOR, a mesh with landmarks_mm.json beside it"
    )
    parser.add_argument("--run", help="a finished run, whose labels are compared wherever maps are")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _scans(args: argparse.Namespace) -> Iterator[Scan]:
    for folder in args.samples:
        yield from (read_scan(path) for path in files_below(folder) if is_scan(path, readable_databases()))
    if args.points:
        with np.load(args.points) as file:
            names = ("points", "colours", "landmarks", "landmark_names", "to_scan", "centre", "scan_id")
            data = {name: file[name] for name in names}
        yield from (_scan_of_points(data, k) for k in range(0, len(data["points"]), args.every))


def _scan_of_points(data: dict[str, np.ndarray], k: int) -> Scan:
    """A surface through raw points that were seen along −z, with the landmarks that belong to them."""
    known = np.isfinite(data["points"][k]).all(axis=1)
    points, colours = data["points"][k][known].astype(np.float64), data["colours"][k][known]
    triangles = scipy.spatial.Delaunay(points[:, :2]).simplices.astype(np.int32)
    flat = np.concatenate([points[:, :2], np.zeros((len(points), 1))], axis=1)
    longest = longest_edges(flat, triangles)
    triangles = triangles[longest < _LONGEST_EDGE]
    u, v = (flat[triangles[:, k]] - flat[triangles[:, 0]] for k in (1, 2))
    clockwise = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
    triangles[clockwise] = triangles[clockwise][:, ::-1]
    to_scan = data["to_scan"][k]
    places = data["landmarks"][k] @ to_scan[:3, :3].T + to_scan[:3, 3] - data["centre"][k]
    landmarks = {
        str(name): at for name, at in zip(data["landmark_names"], places, strict=True) if np.isfinite(at).all()
    }
    identity = ScanId("points", "points", "", None, None, str(data["scan_id"][k]))
    uv, uv_triangles, texture = painted(Surface(points, (Part(triangles),), colours=colours), float(np.median(longest)))
    return Scan(identity, points, triangles, uv, uv_triangles, texture, landmarks)


def _turned(scan: Scan, rng: np.random.Generator) -> Scan:
    pitch, yaw, roll = (rng.uniform(-most, most) for most in _MOST_TURNED)
    turn = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()
    centre = np.median(scan.points, axis=0)
    landmarks = {name: turn @ (at - centre) for name, at in scan.landmarks.items() if name in LANDMARKS}
    return dataclasses.replace(scan, points=(scan.points - centre) @ turn.T, landmarks=landmarks, grid=None)


@dataclasses.dataclass
class Result:
    """What was found on one scan, NaN where nothing was.

    Attributes:
        errors: (22, 3) canonical mm, NaN where not known.
        turn: (3,) degrees about x, y and z from the pose by given to that by found landmarks.
    """

    errors: np.ndarray
    turn: np.ndarray = dataclasses.field(default_factory=lambda: np.full(3, np.nan))
    seconds: float = np.nan
    confidence: float = np.nan
    depth_rmse: float = np.nan
    mask_iou: float = np.nan
    same_label: float = np.nan
    fault: str = ""


def _measured(scan: Scan, with_maps: bool, labels: Callable | None = None) -> Result:
    result = Result(np.full((len(LANDMARKS), 3), np.nan))
    bare = dataclasses.replace(scan, landmarks={})
    start = time.process_time()  # of all cores: what one would need at most
    try:
        found, confidence = find_landmarks(bare)
    except AFNetError as error:
        result.fault = str(error)
        return result
    result.seconds, result.confidence = time.process_time() - start, float(np.mean(list(confidence.values())))
    good = clean_surface(scan.points, scan.triangles, SurfaceConfig()).points
    given_pose, _ = pose_of(scan, good)
    found_pose, _ = pose_of(dataclasses.replace(scan, landmarks=found), good)
    for k, name in enumerate(LANDMARKS):
        if name in scan.landmarks:
            result.errors[k] = (found[name] - scan.landmarks[name]) @ given_pose[:3, :3]
    result.turn = _turn(given_pose[:3, :3], found_pose[:3, :3])
    if with_maps:
        a, b = preprocess(scan), preprocess(dataclasses.replace(scan, landmarks=found))
        first, second = a.masks[56] > 0.5, b.masks[56] > 0.5
        result.depth_rmse = _rms((a.depth - b.depth)[a.valid & b.valid])
        result.mask_iou = float((first & second).sum() / (first | second).sum())
        if labels:
            result.same_label = float(len(set(labels([a, b]))) == 1)
    return result


def _labels(run: str) -> Callable[[list[FaceMaps]], list[int]]:
    """Returns a function that labels faces by all networks of a run's first round."""
    opened = load_run(run)
    predictor, size, seen = Predictor(opened), opened.config.dataset.image_size, opened.config.model.modalities

    def labels(faces: list[FaceMaps]) -> list[int]:
        reduced = [reduce_maps(drawn_maps(face), face.mm_per_pixel, size, seen) for face in faces]
        return predictor(stack(reduced)).argmax(axis=-1).tolist()

    return labels


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return Rotation.from_matrix(a.T @ b).as_rotvec(degrees=True)


def _print_landmarks(results: list[Result]) -> None:
    found = [result for result in results if not result.fault]
    print(f"scans: {len(results)}, refused {len(results) - len(found)}")
    if not found:
        return
    errors = np.stack([result.errors for result in found])
    offsets = np.nanmean(errors, axis=0)
    print("name                 mean offset x, y, z (mm)   distance left in / taken out (median)")
    for k, name in enumerate(LANDMARKS):
        if np.isfinite(offsets[k]).all():
            left_in, taken_out = (np.nanmedian(np.linalg.norm(e[:, k], axis=1)) for e in (errors, errors - offsets))
            print(
                f"{name:20}",
                " ".join(f"{value:6.2f}" for value in (*offsets[k], left_in, taken_out)),
            )
    for what, values in (("left in", errors), ("taken out", errors - offsets)):
        _print_spread(f"mean error of a scan, offsets {what}, mm", np.nanmean(np.linalg.norm(values, axis=2), axis=1))
    turns = np.stack([result.turn for result in found])
    _print_spread("pose, degrees", np.linalg.norm(turns, axis=1))
    print("mean turn about x, y, z:", " ".join(f"{value:.2f}" for value in turns.mean(axis=0)))
    _print_spread("CPU seconds", np.array([result.seconds for result in found]))
    _print_spread("confidence", np.array([result.confidence for result in found]))


def _print_maps(results: list[Result]) -> None:
    for what, values in (
        ("depth RMSE, mm", [r.depth_rmse for r in results]),
        ("mask IoU", [r.mask_iou for r in results]),
    ):
        known = np.array(values)[np.isfinite(values)]
        if len(known):
            _print_spread(f"maps, {what}", known)
    same = np.array([r.same_label for r in results])
    if np.isfinite(same).any():
        print(f"the same label: {np.nanmean(same):.1%} of {np.isfinite(same).sum()}")


def _print_spread(what: str, values: np.ndarray) -> None:
    low, median, high = np.percentile(values, [5, 50, 95])
    print(
        f"{what}: median {median:.3g}, 5 % {low:.3g}, 95 % {high:.3g},",
        f"least {values.min():.3g}, most {values.max():.3g}",
    )


def _print_mesh(file: str, factor: str) -> None:
    """Prints what is found on a mesh beside the landmarks in landmarks_mm.json."""
    path = user_path(file)
    scan = read_scan(path)
    raw = READERS[path.suffix.lower()](path)
    used = np.unique(np.concatenate([part.triangles.ravel() for part in raw.parts]))
    scale = float(factor) * np.ptp(raw.points[used], axis=0).max() / np.ptp(scan.points, axis=0).max()
    given = {name: np.array(at) for name, at in json.loads(path.with_name("landmarks_mm.json").read_text()).items()}
    found = {name: scale * at for name, at in find_landmarks(scan)[0].items()}
    errors = {name: float(np.linalg.norm(found[name] - given[name])) for name in LANDMARKS if name in given}
    for name, error in errors.items():
        print(f"{path.name} {name:20} {error:5.1f} mm")
    mean = np.mean([error for name, error in errors.items() if "wing" not in name])
    given_pose, found_pose = align(given, frontal=False), align(found, frontal=False)
    degrees = np.linalg.norm(_turn(given_pose[:3, :3], found_pose[:3, :3]))
    print(f"{path.name}: mean {mean:.2f} mm without the wings; pose {degrees:.2f}°")


if __name__ == "__main__":
    main()
