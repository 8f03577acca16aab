"""How well landmarks are found: on scans whose landmarks are known, turned at random, and on things that are no face.

    python -m benchmarks.landmarks --samples=FOLDER [--points=FILE.npz] [--turns=3] [--non_faces=500]

FOLDER holds scans that `read_scan` reads, at any depth. FILE.npz holds raw points (N, 16384, 3) less `centre`, NaN
where a scan has fewer, `landmarks` (N, 22, 3) canonical mm with `landmark_names`, and `to_scan` (N, 4, 4).
Face models differ in where a landmark lies by definition: errors are printed with each name's mean offset over all
scans left in and taken out.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import scipy.spatial
from scipy.spatial.transform import Rotation

from afnet_jax.errors import AFNetError
from afnet_jax.geometry.alignment import align
from afnet_jax.geometry.triangles import longest_edges
from afnet_jax.landmarks import bodies, find_landmarks
from afnet_jax.preprocessing import preprocess
from afnet_jax.scans.databases import is_scan, read_scan, readable_databases
from afnet_jax.scans.raw_folder import files_below
from afnet_jax.scans.scan import LANDMARKS, Scan, ScanId

_MOST_TURNED = (25.0, 45.0, 25.0)  # degrees of pitch, yaw and roll
_LONGEST_EDGE = 8.0  # mm between neighbours of a scan's points


def main() -> None:
    args = _parsed()
    rng = np.random.default_rng(args.seed)
    results = []
    for scan in _scans(args):
        for _ in range(args.turns):
            results.append(_measured(_turned(scan, rng), with_maps=len(results) % args.maps_every == 0))
            _say(f"{len(results)}: {scan.id.name} {results[-1].fault or ''}")
    _print_landmarks(results)
    _print_maps(results)
    _print_refusals(args.non_faces, args.seed)


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=Path, action="append", default=[], help="folder of scans with landmarks")
    parser.add_argument("--points", type=Path, help="raw points with landmarks, .npz")
    parser.add_argument("--every", type=int, default=1, help="only every so many of the points' scans")
    parser.add_argument("--turns", type=int, default=3, help="random poses of each scan")
    parser.add_argument("--maps_every", type=int, default=5, help="maps are compared for every so many results")
    parser.add_argument("--non_faces", type=int, default=500, help="things that are no face")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _scans(args: argparse.Namespace) -> Iterator[Scan]:
    for folder in args.samples:
        yield from (read_scan(path) for path in files_below(folder) if is_scan(path, readable_databases()))
    if args.points:
        with np.load(args.points) as file:
            data = {
                name: file[name] for name in ("points", "landmarks", "landmark_names", "to_scan", "centre", "scan_id")
            }
        yield from (_scan_of_points(data, k) for k in range(0, len(data["points"]), args.every))


def _scan_of_points(data: dict[str, np.ndarray], k: int) -> Scan:
    """A surface through raw points that were seen along −z, with the landmarks that belong to them."""
    points = data["points"][k].astype(np.float64)
    points = points[np.isfinite(points).all(axis=1)]
    triangles = scipy.spatial.Delaunay(points[:, :2]).simplices.astype(np.int32)
    flat = np.concatenate([points[:, :2], np.zeros((len(points), 1))], axis=1)
    triangles = triangles[longest_edges(flat, triangles) < _LONGEST_EDGE]
    u, v = (flat[triangles[:, k]] - flat[triangles[:, 0]] for k in (1, 2))
    clockwise = u[:, 0] * v[:, 1] - u[:, 1] * v[:, 0] < 0
    triangles[clockwise] = triangles[clockwise][:, ::-1]
    to_scan = data["to_scan"][k]
    places = data["landmarks"][k] @ to_scan[:3, :3].T + to_scan[:3, 3] - data["centre"][k]
    landmarks = {
        str(name): at for name, at in zip(data["landmark_names"], places, strict=True) if np.isfinite(at).all()
    }
    identity = ScanId("points", "points", "", None, None, str(data["scan_id"][k]))
    uv = np.full((len(points), 2), 0.5, np.float32)
    return Scan(identity, points, triangles, uv, triangles, np.zeros((2, 2, 3), np.uint8), landmarks)


def _turned(scan: Scan, rng: np.random.Generator) -> Scan:
    pitch, yaw, roll = (rng.uniform(-most, most) for most in _MOST_TURNED)
    turn = Rotation.from_euler("zxy", [roll, pitch, yaw], degrees=True).as_matrix()
    centre = np.median(scan.points, axis=0)
    landmarks = {name: turn @ (at - centre) for name, at in scan.landmarks.items() if name in LANDMARKS}
    return dataclasses.replace(scan, points=(scan.points - centre) @ turn.T, landmarks=landmarks, grid=None)


@dataclasses.dataclass
class Result:
    """What was found on one scan: errors (22, 3) canonical mm, NaN where not known; the rest NaN where nothing was."""

    errors: np.ndarray
    degrees: float = np.nan
    seconds: float = np.nan
    confidence: float = np.nan
    depth_rmse: float = np.nan
    mask_iou: float = np.nan
    fault: str = ""


def _measured(scan: Scan, with_maps: bool) -> Result:
    result = Result(np.full((len(LANDMARKS), 3), np.nan))
    bare = dataclasses.replace(scan, landmarks={})
    start = time.perf_counter()
    try:
        found, confidence = find_landmarks(bare)
    except AFNetError as error:
        result.fault = str(error)
        return result
    result.seconds, result.confidence = time.perf_counter() - start, float(np.mean(list(confidence.values())))
    given_pose, found_pose = align(scan.landmarks), align(found)
    for k, name in enumerate(LANDMARKS):
        if name in scan.landmarks:
            result.errors[k] = (found[name] - scan.landmarks[name]) @ given_pose[:3, :3]
    result.degrees = _angle(given_pose[:3, :3], found_pose[:3, :3])
    if with_maps:
        result.depth_rmse, result.mask_iou = _compared(scan, dataclasses.replace(scan, landmarks=found))
    return result


def _compared(given: Scan, found: Scan) -> tuple[float, float]:
    a, b = preprocess(given), preprocess(found)
    both = a.valid & b.valid
    first, second = a.masks[56] > 0.5, b.masks[56] > 0.5
    return _rms((a.depth - b.depth)[both]), float((first & second).sum() / (first | second).sum())


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _angle(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip((np.trace(a.T @ b) - 1) / 2, -1, 1))))


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
    _print_spread("pose, degrees", np.array([result.degrees for result in found]))
    _print_spread("seconds", np.array([result.seconds for result in found]))
    _print_spread("confidence", np.array([result.confidence for result in found]))


def _print_maps(results: list[Result]) -> None:
    for what, values in (
        ("depth RMSE, mm", [r.depth_rmse for r in results]),
        ("mask IoU", [r.mask_iou for r in results]),
    ):
        known = np.array(values)[np.isfinite(values)]
        if len(known):
            _print_spread(f"maps, {what}", known)


def _print_spread(what: str, values: np.ndarray) -> None:
    low, median, high = np.percentile(values, [5, 50, 95])
    print(
        f"{what}: median {median:.3g}, 5 % {low:.3g}, 95 % {high:.3g},",
        f"least {values.min():.3g}, most {values.max():.3g}",
    )


def _print_refusals(count: int, seed: int) -> None:
    taken, lines = 0, set()
    for k in range(count):
        points, triangles = bodies.thing(np.random.default_rng([seed, k, 0x3C]))
        uv, picture = np.full((len(points), 2), 0.5, np.float32), np.zeros((2, 2, 3), np.uint8)
        identity = ScanId("none", "none", "", None, None, f"thing-{k}")
        try:
            find_landmarks(
                Scan(identity, points, triangles.astype(np.int32), uv, triangles.astype(np.int32), picture, {})
            )
            taken += 1
        except AFNetError as error:
            lines.add(len(str(error).splitlines()))
    if count:
        print(f"things that are no face: {count}, taken for one {taken}; lines of a refusal: {sorted(lines)}")


if __name__ == "__main__":
    main()
