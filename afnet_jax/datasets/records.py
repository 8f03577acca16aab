"""One scan's face maps as a flat record of arrays, the form in which they are kept on disk."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from afnet_jax.atomic_files import UNREADABLE_ARRAYS, read_arrays
from afnet_jax.errors import DatasetError
from afnet_jax.maps import IMAGE_SIZE, INPUT_MAPS
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.preprocessing.point_sample import POINTS, PointSample
from afnet_jax.scans.scan import EXPRESSION_CODES, LANDMARKS

VERSION = "1.1.0"  # of the records' fields; the data set's version
EARLIER = ("1.0.0",)  # which can still be read: 1.0.0 holds no points


COLOURS_SHAPE = (128, 128, 3)  # of the points' colours as a picture: neighbours in space lie near one another in it
PICTURES = ("texture", "colours")  # fields that are kept as PNG


def lock_file(data_dir: Path, database: str) -> Path:
    """The file beside a data set that is locked while the set is written or read."""
    return data_dir / f".{database}.lock"


def prepared_names(data_dir: Path) -> list[str]:
    """Returns the names of the data sets that a folder holds, sorted."""
    found = {path.parent.name for version in (VERSION, *EARLIER) for path in data_dir.glob(f"*/{version}")}
    return sorted(name for name in found if dataset_folder(data_dir, name).is_dir())


def dataset_folder(data_dir: Path, database: str) -> Path:
    """Returns the folder of a prepared data set: of its newest version; where there is none, of the one to come."""
    versions = [data_dir / database / version for version in (VERSION, *EARLIER)]
    return next((folder for folder in versions if folder.is_dir()), versions[0])


def being_prepared(data_dir: Path, database: str) -> str:
    """Returns the message of a process that waits for the lock."""
    return f"{data_dir / database}: the data set is being prepared"


def drawn_maps(face: FaceMaps) -> dict[str, np.ndarray]:
    """Returns the maps of a face that a record holds, by their names in `INPUT_MAPS`, as preprocessing drew them."""
    of_record = {name: each for name, each in INPUT_MAPS.items() if each.record}
    images = {name: getattr(face, name) for name, each in of_record.items() if each.scale == 1}
    return images | {n: face.masks[m.edge(IMAGE_SIZE)] for n, m in of_record.items() if m.scale < 1}


def record_of(maps: FaceMaps) -> dict[str, np.ndarray | np.generic]:
    """Flattens face maps; the fields are those of the tfds features (see builder.py), the texture as PNG bytes.

    Points are as in PointSample, their colours a PNG, too. Landmarks are (22, 3) in the order of LANDMARKS, NaN where
    the scan has none of that name.

    Raises:
        DatasetError: the face shows none of the expressions.
    """
    if maps.id.label is None:
        expected = ", ".join(EXPRESSION_CODES)
        raise DatasetError(f"{maps.id.name}: the face shows {maps.id.expression!r}, expected one of {expected}")
    quality = {name: each if isinstance(each, str) else float(each) for name, each in maps.quality.items()}
    return {
        **{INPUT_MAPS[name].record: _stored(drawn) for name, drawn in drawn_maps(maps).items()},
        "label": np.int64(maps.id.label),
        "scan_id": np.str_(maps.id.name),
        "subject": np.str_(maps.id.subject),
        "level": np.int64(maps.id.level or 0),
        "ethnicity": np.str_(maps.id.ethnicity or ""),
        "sex": np.str_(maps.id.sex or ""),
        **_stored_points(maps.points),
        "landmarks": landmark_array(maps.landmarks),
        "to_scan": np.asarray(maps.to_scan, np.float64),
        "origin": np.array(maps.origin, np.float64),
        "mm_per_pixel": np.float64(maps.mm_per_pixel),
        "quality": np.str_(json.dumps(quality | {"remarks": maps.remarks})),
    }


def landmark_array(landmarks: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the (22, 3) landmarks in the order of LANDMARKS, NaN where there is none of that name."""
    nowhere = np.full(3, np.nan)
    return np.array([landmarks.get(name, nowhere) for name in LANDMARKS], np.float64)


def as_record(example: Mapping) -> dict[str, np.ndarray | np.generic]:
    """Returns the record that an example of the data set was made from, its PNGs compressed anew."""
    record: dict[str, np.ndarray | np.generic] = {n: np.frombuffer(_png(example[n]), np.uint8) for n in PICTURES}
    for name in set(example) - set(PICTURES):
        value = example[name]
        record[name] = np.str_(value.decode()) if isinstance(value, bytes) else np.asarray(value)
    return record


def _stored_points(sample: PointSample | None) -> dict[str, np.ndarray]:
    """The points of a scan; none, if nobody drew any."""
    if sample is None:
        sample = PointSample(np.full((POINTS, 3), np.nan), np.zeros((POINTS, 3), np.uint8), np.zeros(3))
    return {
        "points": sample.points.astype(np.float16),
        "colours": np.frombuffer(_png(sample.colours.reshape(COLOURS_SHAPE)), np.uint8),
        "centre": np.asarray(sample.centre, np.float64),
    }


def points_of(record: Mapping) -> PointSample:
    """Returns the points that a record of the data set holds."""
    return PointSample(record["points"], record["colours"].reshape(POINTS, 3), record["centre"])


def _stored(drawn: np.ndarray) -> np.ndarray:
    """Returns bytes as a PNG, numbers as float32."""
    return np.frombuffer(_png(drawn), np.uint8) if drawn.dtype == np.uint8 else drawn.astype(np.float32)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, format="PNG")
    return file.getvalue()


def load_record(path: Path) -> dict[str, np.ndarray]:
    """Loads a record that was saved as .npz.

    Raises:
        DatasetError: the file is damaged.
    """
    try:
        return read_arrays(path)
    except UNREADABLE_ARRAYS as error:
        raise DatasetError(f"{path}: the finished scan is damaged ({error}); remove this file and run again") from None
