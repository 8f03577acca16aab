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
from afnet_jax.preprocessing.face_maps import FaceMaps
from afnet_jax.scans.scan import EXPRESSION_CODES, LANDMARKS

VERSION = "1.0.0"  # of the records' fields; the data set's version


def lock_file(data_dir: Path, database: str) -> Path:
    """The file beside a data set that is locked while the set is written or read."""
    return data_dir / f".{database}.lock"


def being_prepared(data_dir: Path, database: str) -> str:
    """What a process says that waits for the lock."""
    return f"{data_dir / database}: the data set is being prepared"


def record_of(maps: FaceMaps) -> dict[str, np.ndarray | np.generic]:
    """Flattens face maps; the fields are those of the tfds features (see builder.py), the texture as PNG bytes.

    Landmarks are (22, 3) in the order of LANDMARKS, NaN where the scan has none of that name.

    Raises:
        DatasetError: the face shows none of the expressions.
    """
    if maps.id.label is None:
        expected = ", ".join(EXPRESSION_CODES)
        raise DatasetError(f"{maps.id.name}: the face shows {maps.id.expression!r}, expected one of {expected}")
    nowhere = np.full(3, np.nan)
    return {
        "texture": np.frombuffer(_png(maps.texture), np.uint8),
        "depth": maps.depth.astype(np.float32),
        "mask56": maps.masks[56].astype(np.float32),
        "mask28": maps.masks[28].astype(np.float32),
        "label": np.int64(maps.id.label),
        "scan_id": np.str_(maps.id.name),
        "subject": np.str_(maps.id.subject),
        "level": np.int64(maps.id.level or 0),
        "ethnicity": np.str_(maps.id.ethnicity or ""),
        "sex": np.str_(maps.id.sex or ""),
        "landmarks": np.array([maps.landmarks.get(name, nowhere) for name in LANDMARKS], np.float64),
        "to_scan": np.asarray(maps.to_scan, np.float64),
        "origin": np.array(maps.origin, np.float64),
        "mm_per_pixel": np.float64(maps.mm_per_pixel),
        "quality": np.str_(json.dumps({name: float(value) for name, value in maps.quality.items()})),
    }


def as_record(example: Mapping) -> dict[str, np.ndarray | np.generic]:
    """Returns the record that an example of the data set was made from, the texture's PNG compressed anew."""
    record: dict[str, np.ndarray | np.generic] = {"texture": np.frombuffer(_png(example["texture"]), np.uint8)}
    for name in set(example) - {"texture"}:
        value = example[name]
        record[name] = np.str_(value.decode()) if isinstance(value, bytes) else np.asarray(value)
    return record


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
