"""From raw scans to expression probabilities by a run's networks."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import overload

import jax
import numpy as np
from ml_collections import ConfigDict

from afnet_jax.analysis.doubt import SHARE, doubt_below
from afnet_jax.analysis.run import Run
from afnet_jax.datasets.records import drawn_maps, landmark_array
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.errors import RunError, in_one_line
from afnet_jax.machine import usable_cores
from afnet_jax.maps import Maps
from afnet_jax.paths import user_path
from afnet_jax.points.clouds import cloud_of, stack_clouds
from afnet_jax.points.rendering import render_all
from afnet_jax.preprocessing import preprocess
from afnet_jax.preprocessing.pipeline import pose_points
from afnet_jax.scans import Scan, ScanError, read_scan
from afnet_jax.scans.arrays import with_remarks
from afnet_jax.scans.database import Database
from afnet_jax.scans.databases import is_synthetic
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
        landmarks: "given" or "found".
    """

    path: Path
    name: str
    maps: Maps
    remarks: tuple[str, ...] = ()
    coloured: bool = True
    landmarks: str = "given"


@dataclasses.dataclass(frozen=True)
class Prediction:
    """The networks' probabilities for one face.

    Attributes:
        face: the face.
        probabilities: (6,) in the order of EXPRESSIONS; they sum to 1.
        doubt_below: probability of the likeliest expression below which it is doubtful, see `doubt`.
        synthetic_only: the networks have seen no scanned subjects.
    """

    face: Face
    probabilities: np.ndarray
    doubt_below: float = 0.0
    synthetic_only: bool = False

    @property
    def expression(self) -> str:
        """The most probable expression."""
        return EXPRESSIONS[int(self.probabilities.argmax())]

    @property
    def doubtful(self) -> bool:
        """Tells whether the face may show none of the six expressions."""
        return bool(self.probabilities.max() < self.doubt_below)

    def to_json(self) -> str:
        """One line of JSON: file, scan, expression, probabilities by name, and how far to trust them."""
        probabilities = dict(zip(EXPRESSIONS, map(float, self.probabilities), strict=True))
        return json.dumps(
            {
                "file": str(self.face.path),
                "scan": self.face.name,
                "expression": self.expression,
                "probabilities": probabilities,
                "landmarks": self.face.landmarks,
                "doubtful": self.doubtful,
                "doubt_below": self.doubt_below,
                "synthetic_only": self.synthetic_only,
            }
        )


@contextlib.contextmanager
def read_faces(
    paths: Sequence[Path | ScanError], config: ConfigDict, databases: Sequence[Database] = ()
) -> Iterator[Iterator[Face | ScanError]]:
    """Reads and preprocesses scans; one that cannot be used comes out as its error, in its place.

    The work starts in the background at once, beside whatever the caller does until the first face is asked for, and
    ends with the `with` block: what is not begun by then never is.

    Args:
        paths: of `find_files`.
        config: of the run whose networks will see them.
        databases: as in `find_files`.
    """
    size, modalities = config.dataset.image_size, config.model.modalities
    make_maps = functools.partial(_MAKERS[config.dataset.input], size=size, modalities=modalities)
    executor = ThreadPoolExecutor(usable_cores())
    try:
        futures = [executor.submit(_read_face, path, databases, make_maps) for path in paths]
        yield (future.result() for future in futures)
    finally:
        executor.shutdown(cancel_futures=True)


def _read_face(
    path: Path | ScanError,
    databases: Sequence[Database],
    make_maps: Callable[[Scan], tuple[Maps, tuple[str, ...], str]],
) -> Face | ScanError:
    if isinstance(path, ScanError):
        return path
    try:
        scan = read_scan(path, databases=databases)
        try:
            maps, remarks, landmarks = make_maps(scan)
        except ScanError as error:
            return with_remarks(error, scan)
    except ScanError as error:
        return error
    except (Exception, SystemExit) as error:  # of a reader, or a bug of ours: the others go on
        return ScanError(path, f"unexpected {in_one_line(error)}")
    return Face(path, scan.id.name, maps, remarks, scan.coloured, landmarks)


def _drawn(scan: Scan, *, size: int, modalities: Collection[str]) -> tuple[Maps, tuple[str, ...], str]:
    """A scan's maps as preprocessing draws them, what looked odd, and whether its landmarks were given or found."""
    maps = preprocess(scan)
    reduced = reduce_maps(drawn_maps(maps), maps.mm_per_pixel, size, modalities)
    return reduced, maps.remarks, str(maps.quality["landmarks"])


def _rendered(scan: Scan, *, size: int, modalities: Collection[str]) -> tuple[Maps, tuple[str, ...], str]:
    """The same, rendered from the scan's points; nothing is fitted on the host where the scan has landmarks."""
    posed = pose_points(scan) if scan.landmarks else preprocess(scan)
    assert posed.points is not None  # both draw them
    cloud = cloud_of(posed.points, posed.to_scan, landmark_array(posed.landmarks))
    maps = jax.tree.map(lambda m: m[0], render_all(stack_clouds([cloud]), size, modalities))
    return maps, posed.remarks, "given" if scan.landmarks else "found"


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
        self._run = run
        folds = run.folds(round) if fold is None else [fold]
        self._weights = [jax.tree.map(lambda leaf: leaf[0], run.stacked_weights(round, [k])) for k in folds]
        self._size = run.config.dataset.image_size
        self.sees_texture = "texture" in run.config.model.modalities
        self.doubt_below = doubt_below(run)
        self.synthetic_only = is_synthetic(run.config.dataset.name)
        self._probabilities = jax.jit(run.network.probabilities)
        # Compiled before the first face is asked for, while faces are still being made.
        self._compiled = self._probabilities.lower(
            *self._weights[0], run.network.map_shapes(self._size, BATCH)
        ).compile()

    @overload
    def __call__(self, faces: Maps) -> np.ndarray: ...

    @overload
    def __call__(self, faces: str | os.PathLike[str]) -> Prediction: ...

    def __call__(self, faces: Maps | str | os.PathLike[str]) -> np.ndarray | Prediction:
        """Returns (N, 6) probabilities of (N, …) maps, or the `Prediction` for one raw scan, given its file.

        Raises:
            RunError: maps of another size than the run's.
            ScanError: a file that cannot be used.
        """
        return self.of_each(faces).mean(0) if isinstance(faces, Maps) else self._of_file(user_path(faces))

    def _of_file(self, path: Path) -> Prediction:
        with read_faces([path], self._run.config) as faces:
            (outcome,) = predict(self, faces)
        if isinstance(outcome, ScanError):
            raise outcome
        return outcome

    def of_each(self, maps: Maps) -> np.ndarray:
        """(N, …) maps -> (F, N, 6) probabilities of each of the F networks.

        Raises:
            RunError: as a call.
        """
        if maps.texture.shape[1:] != (self._size, self._size, 3):
            raise RunError(
                f"expected maps of {self._size} x {self._size} pixels, found texture of shape {maps.texture.shape}; "
                f"reduce them with afnet_jax.datasets.reduction.reduce_maps"
            )
        count = len(maps.texture)
        starts = range(0, count, BATCH)
        chunks = [self._batch(jax.tree.map(lambda m, start=start: m[start : start + BATCH], maps)) for start in starts]
        return np.concatenate([np.zeros((len(self._weights), 0, len(EXPRESSIONS)), np.float32), *chunks], axis=1)

    def _batch(self, maps: Maps) -> np.ndarray:
        count = len(maps.texture)
        full = jax.tree.map(lambda m: np.concatenate([m, np.zeros((BATCH - count, *m.shape[1:]), m.dtype)]), maps)
        return np.stack([self._compiled(*weights, full)[:count] for weights in self._weights])


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
        if isinstance(face, Face):
            yield Prediction(face, next(rows), predictor.doubt_below, predictor.synthetic_only)
        else:
            yield face


def to_table(predictions: Sequence[Prediction]) -> str:
    """A table for people: a row for each scan, probabilities in percent, a ? after a doubtful expression.

    Scans of one name, as meshes in several folders may have, are told by their paths.
    """
    count = Counter(p.face.name for p in predictions)
    names = [p.face.name if count[p.face.name] == 1 else str(p.face.path) for p in predictions]
    width = max(len("scan"), *map(len, names))
    rows = [f"{'scan':<{width}}  {'expression':<10}" + "".join(f"{code:>7}" for code in EXPRESSION_CODES)]
    for name, p in zip(names, predictions, strict=True):
        shares = "".join(f"{100 * share:6.1f}%" for share in p.probabilities)
        rows.append(f"{name:<{width}}  {p.expression + '?' * p.doubtful:<10}{shares}")
    if any(p.doubtful for p in predictions):
        least = predictions[0].doubt_below
        rows.append(f"? below {least:.0%}, as {SHARE:.0%} of the run's own test scans are: perhaps none of the six")
    return "\n".join(rows)
