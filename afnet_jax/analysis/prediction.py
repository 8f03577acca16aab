"""From raw scans to expression probabilities by a run's networks."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jax
import numpy as np

from afnet_jax.analysis.run import Run
from afnet_jax.datasets.records import drawn_maps, landmark_array
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.errors import RunError, in_one_line
from afnet_jax.landmarks.choice import preprocess
from afnet_jax.machine import usable_cores
from afnet_jax.maps import Maps
from afnet_jax.paths import user_path
from afnet_jax.points.clouds import cloud_of, stack_clouds
from afnet_jax.points.rendering import render_all
from afnet_jax.preprocessing.pipeline import pose_points
from afnet_jax.scans import Scan, ScanError, read_scan
from afnet_jax.scans.database import Database
from afnet_jax.scans.databases import is_scan, readable_databases, scans_of
from afnet_jax.scans.raw_folder import files_below
from afnet_jax.scans.scan import EXPRESSION_CODES, EXPRESSIONS

BATCH = 16  # faces of one call; one program serves any number of them


@dataclasses.dataclass(frozen=True)
class Face:
    """One raw scan, ready for the network.

    Attributes:
        path: its file.
        name: of the scan.
        maps: as in `Maps`, without the axis of scans.
        remarks: what looked odd, see `Scan`.
        coloured: the scan has colours, see `Scan.coloured`.
    """

    path: Path
    name: str
    maps: Maps
    remarks: tuple[str, ...] = ()
    coloured: bool = True


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The networks' probabilities for one face.

    Attributes:
        face: the face.
        probabilities: (6,) in the order of EXPRESSIONS; they sum to 1.
    """

    face: Face
    probabilities: np.ndarray

    @property
    def expression(self) -> str:
        """The most probable expression."""
        return EXPRESSIONS[int(self.probabilities.argmax())]

    def to_json(self) -> str:
        """One line of JSON: file, scan, expression, probabilities by name."""
        probabilities = dict(zip(EXPRESSIONS, map(float, self.probabilities), strict=True))
        return json.dumps(
            {
                "file": str(self.face.path),
                "scan": self.face.name,
                "expression": self.expression,
                "probabilities": probabilities,
            }
        )


def find_files(paths: Iterable[str | Path], databases: Sequence[Database] = ()) -> list[Path | ScanError]:
    """Scan files among paths: files as they are, folders with all the scans below them, sorted.

    A path that is not there, a folder without scans, or a name at which a reader fails comes out as its error, in its
    place.

    Args:
        paths: files and folders.
        databases: whose scans; by default all that can be read without a reader of the user's own.
    """
    databases = databases or readable_databases()
    found: list[Path | ScanError] = []
    for path in map(user_path, paths):
        if not path.exists():
            found.append(ScanError(path, "no such file or folder"))
        else:
            found += _scans_below(path, databases) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def _scans_below(folder: Path, databases: Sequence[Database]) -> list[Path | ScanError]:
    found: list[Path | ScanError] = []
    try:
        for path in files_below(folder):
            try:
                found += [path] if is_scan(path, databases) else []
            except ScanError as error:
                found.append(error)
    except ScanError as error:  # a folder that cannot be read
        found.append(error)
    none = ScanError(folder, f"holds no scan, nor do its subfolders; expected {scans_of(databases)}")
    return found or [none]


def read_faces(
    paths: Sequence[Path | ScanError],
    image_size: int,
    databases: Sequence[Database] = (),
    modalities: Collection[str] = (),
    source: str = "maps",
) -> Iterator[Face | ScanError]:
    """Reads and preprocesses scans; one that cannot be used comes out as its error, in its place.

    The work starts in the background at once, beside whatever the caller does until the first face is asked for.

    Args:
        paths: of `find_files`.
        image_size: edge in pixels of the run's images.
        databases: as in `find_files`.
        modalities: of the run's networks.
        source: config.dataset.input of the run.
    """
    executor = ThreadPoolExecutor(usable_cores())
    make_maps = functools.partial(_MAKERS[source], size=image_size, modalities=modalities)
    futures = [executor.submit(_read_face, path, databases, make_maps) for path in paths]

    def in_order():
        try:
            for future in futures:
                yield future.result()
        finally:
            executor.shutdown(cancel_futures=True)

    return in_order()


def _read_face(
    path: Path | ScanError,
    databases: Sequence[Database],
    make_maps: Callable[[Scan], tuple[Maps, tuple[str, ...]]],
) -> Face | ScanError:
    if isinstance(path, ScanError):
        return path
    try:
        scan = read_scan(path, databases=databases)
        maps, remarks = make_maps(scan)
    except ScanError as error:
        return error
    except (Exception, SystemExit) as error:  # of a reader, or a bug of ours: the others go on
        return ScanError(path, f"unexpected {in_one_line(error)}")
    return Face(path, scan.id.name, maps, remarks, scan.coloured)


def _drawn(scan: Scan, *, size: int, modalities: Collection[str]) -> tuple[Maps, tuple[str, ...]]:
    """A scan's maps as preprocessing draws them, and what looked odd."""
    maps = preprocess(scan)
    return reduce_maps(drawn_maps(maps), maps.mm_per_pixel, size, modalities), maps.remarks


def _rendered(scan: Scan, *, size: int, modalities: Collection[str]) -> tuple[Maps, tuple[str, ...]]:
    """The same, rendered from the scan's points; nothing is fitted on the host where the scan has landmarks."""
    posed = pose_points(scan) if scan.landmarks else preprocess(scan)
    assert posed.points is not None  # both draw them
    cloud = cloud_of(posed.points, posed.to_scan, landmark_array(posed.landmarks))
    return jax.tree.map(lambda m: m[0], render_all(stack_clouds([cloud]), size, modalities)), posed.remarks


_MAKERS = {"maps": _drawn, "points": _rendered}  # config.dataset.input -> what makes maps of a scan


class Predictor:
    """Networks of one round of a run, ready for faces: the mean of their probabilities, or one network alone.

    Args:
        run: a finished run.
        round: whose networks.
        fold: the one network; None for all the round's folds.

    Raises:
        RunError: weights that are not there.
    """

    def __init__(self, run: Run, *, round: int = 0, fold: int | None = None):
        folds = run.folds(round) if fold is None else [fold]
        self._weights = [jax.tree.map(lambda leaf: leaf[0], run.stacked_weights(round, [k])) for k in folds]
        self._size = run.config.dataset.image_size
        self.sees_texture = "texture" in run.config.model.modalities
        self._probabilities = jax.jit(run.network.probabilities)
        # Compiled before the first face is asked for, while faces are still being made.
        self._compiled = self._probabilities.lower(
            *self._weights[0], run.network.map_shapes(self._size, BATCH)
        ).compile()

    def __call__(self, maps: Maps) -> np.ndarray:
        """(N, …) maps -> (N, 6) probabilities.

        Raises:
            RunError: maps of another size than the run's.
        """
        if maps.texture.shape[1:] != (self._size, self._size, 3):
            raise RunError(
                f"expected maps of {self._size} x {self._size} pixels, found texture of shape {maps.texture.shape}; "
                f"reduce them with afnet_jax.datasets.reduction.reduce_maps"
            )
        count = len(maps.texture)
        starts = range(0, count, BATCH)
        chunks = [self._mean(jax.tree.map(lambda m, start=start: m[start : start + BATCH], maps)) for start in starts]
        return np.concatenate(chunks) if chunks else np.zeros((0, len(EXPRESSIONS)), np.float32)

    def _mean(self, maps: Maps) -> np.ndarray:
        count = len(maps.texture)
        full = jax.tree.map(lambda m: np.concatenate([m, np.zeros((BATCH - count, *m.shape[1:]), m.dtype)]), maps)
        return np.mean([self._compiled(*weights, full)[:count] for weights in self._weights], axis=0)


def predict(predictor: Predictor, faces: Iterable[Face | ScanError]) -> Iterator[Prediction | ScanError]:
    """Predictions batch by batch; faults are passed on in their places."""
    waiting: list[Face | ScanError] = []
    for face in faces:
        waiting.append(_fit(predictor, face))
        if len(waiting) == BATCH:
            yield from _predict_batch(predictor, waiting)
            waiting = []
    yield from _predict_batch(predictor, waiting)


def _fit(predictor: Predictor, face: Face | ScanError) -> Face | ScanError:
    """The face, or the fault where it lacks what the networks see."""
    if isinstance(face, ScanError) or face.coloured or not predictor.sees_texture:
        return face
    reason = "the scan has no colours, and this run's networks see the texture: use a run of the variant depth"
    return ScanError(face.path, reason)


def _predict_batch(predictor: Predictor, waiting: Sequence[Face | ScanError]) -> Iterator[Prediction | ScanError]:
    faces = [face for face in waiting if isinstance(face, Face)]
    rows = iter(predictor(stack([face.maps for face in faces])) if faces else ())
    for face in waiting:
        yield Prediction(face, next(rows)) if isinstance(face, Face) else face


def to_table(predictions: Sequence[Prediction]) -> str:
    """A table for people: a row for each scan, probabilities in percent, the highest first named."""
    width = max(len("scan"), *(len(p.face.name) for p in predictions))
    rows = [f"{'scan':<{width}}  {'expression':<10}" + "".join(f"{code:>7}" for code in EXPRESSION_CODES)]
    for p in predictions:
        shares = "".join(f"{100 * share:6.1f}%" for share in p.probabilities)
        rows.append(f"{p.face.name:<{width}}  {p.expression:<10}{shares}")
    return "\n".join(rows)
