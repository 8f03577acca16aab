"""Shows what the project makes of raw scans: how each is read, posed and drawn. No trained run is needed."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from afnet_jax.errors import in_one_line
from afnet_jax.geometry.alignment import to_canonical
from afnet_jax.geometry.rendering import Grid, rasterize
from afnet_jax.machine import usable_cores
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.quality import thumbnails
from afnet_jax.scans import ScanError, read_scan
from afnet_jax.scans.database import Database
from afnet_jax.scans.scan import LANDMARKS, Scan

EDGE = 224  # pixels of each picture
_AIR = 1.05  # times the scan's extent that the picture of its surface spans


@dataclasses.dataclass(frozen=True)
class ScanView:
    """One scan as it is shown.

    Attributes:
        path: its file.
        fault: why it cannot be used; "" where it can.
        facts: (what, value) as people read them.
        remarks: what looked odd, a line each.
        pictures: "surface" (the whole scan, from where its face looks or else along −z), "texture", "depth", "masks"
            and "landmarks" -> WebP of EDGE × EDGE pixels; only those that could be drawn.
    """

    path: Path
    fault: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    remarks: tuple[str, ...] = ()
    pictures: Mapping[str, bytes] = dataclasses.field(default_factory=dict)


def view_scans(
    paths: Sequence[Path | ScanError], preprocess: Callable[[Scan], FaceMaps], databases: Sequence[Database] = ()
) -> Iterator[ScanView]:
    """Reads and draws scans, in order and several at a time.

    Args:
        paths: of `scans.scan_files.find_files`.
        preprocess: one of `preprocessing.choice.CHOICES`.
        databases: whose scans; by default all that can be read without a reader of the user's own.
    """
    with ThreadPoolExecutor(usable_cores()) as executor:
        yield from executor.map(lambda path: _view(path, preprocess, databases), paths)


def _view(path: Path | ScanError, preprocess: Callable[[Scan], FaceMaps], databases: Sequence[Database]) -> ScanView:
    if isinstance(path, ScanError):
        return ScanView(path.path, path.fault)
    try:
        scan = read_scan(path, databases=databases)
    except ScanError as error:
        return ScanView(path, error.fault)
    except (Exception, SystemExit) as error:  # of a reader, or a bug of ours: the others go on
        return ScanView(path, f"unexpected {in_one_line(error)}")
    try:
        maps = preprocess(scan)
    except ScanError as error:
        return ScanView(path, error.fault, _facts(scan), scan.remarks, _encoded({"surface": _surface(scan, np.eye(4))}))
    except (Exception, SystemExit) as error:
        return ScanView(path, f"unexpected {in_one_line(error)}", _facts(scan), scan.remarks)
    facts = _facts(scan) + _facts_of_face(scan, maps)
    return ScanView(path, "", facts, maps.remarks, _encoded({"surface": _surface(scan, maps.to_scan), **_tiles(maps)}))


def _encoded(pictures: Mapping[str, np.ndarray]) -> dict[str, bytes]:
    return {name: thumbnails.webp(picture) for name, picture in pictures.items()}


def _facts(scan: Scan) -> tuple[tuple[str, str], ...]:
    size = " × ".join(f"{extent:.0f}" for extent in np.ptp(scan.points, axis=0)) if len(scan.points) else "0"
    colours = f"a texture of {scan.texture.shape[1]} × {scan.texture.shape[0]} pixels" if scan.coloured else "none"
    surface = f"{len(scan.points):,} points, {len(scan.triangles):,} triangles, {size} mm"
    return ("surface", surface), ("colours", colours)


def _facts_of_face(scan: Scan, maps: FaceMaps) -> tuple[tuple[str, str], ...]:
    if maps.quality["landmarks"] == "found":
        origin = f"found on the surface, mean confidence {maps.quality['landmark_confidence']:.2f}"
    else:
        origin = f"given, {sum(name in scan.landmarks for name in LANDMARKS)} of the {len(LANDMARKS)} names"
    turn = np.degrees(np.arccos(np.clip(maps.to_scan[2, 2], -1, 1)))
    lost = f"{maps.quality['inner_lost']:.1%} of the inner face"
    filled = f"{maps.quality['filled']:.1%} of the face"
    noise = f"{maps.quality['noise']:.2f} mm"
    return (
        ("landmarks", origin),
        ("face", f"looks {turn:.0f}° away from the file's z axis"),
        ("roughness", noise),
        ("filled in", filled),
        ("left out", lost),
    )


def _surface(scan: Scan, to_scan: np.ndarray) -> np.ndarray:
    """(EDGE, EDGE, 3) uint8: all of the scan, lit from the upper left, seen along −z of a frame."""
    if not len(scan.triangles):
        return np.zeros((EDGE, EDGE, 3), np.uint8)
    points = to_canonical(scan.points, to_scan)
    low, high = np.percentile(points[scan.triangles.ravel()], [0.5, 99.5], axis=0)
    step = max(float((high - low)[:2].max()) * _AIR / (EDGE - 1), 1e-9)
    middle, half = (low + high) / 2, step * (EDGE - 1) / 2
    grid = Grid(EDGE, step, (float(middle[0]) - half, float(middle[1]) + half))
    return thumbnails.relief(rasterize(points, scan.triangles, grid).depth / step)


def _tiles(maps: FaceMaps) -> dict[str, np.ndarray]:
    step = maps.mm_per_pixel
    places = np.array([maps.landmarks[name][:2] for name in LANDMARKS if name in maps.landmarks])
    at = (places - maps.origin) * (1 / step, -1 / step)
    return thumbnails.tiles(maps.texture, maps.depth / step, maps.masks[56], at, EDGE)
