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
from afnet_jax.scans.scan import EXPRESSION_CODES, LANDMARKS

VERSION = "1.0.0"  # of the records' fields; the data set's version


def lock_file(data_dir: Path, database: str) -> Path:
    """The file beside a data set that is locked while the set is written or read."""
    return data_dir / f".{database}.lock"


def prepared_names(data_dir: Path) -> list[str]:
    """Returns the names of the data sets that a folder holds, sorted."""
    return sorted(path.parent.name for path in data_dir.glob(f"*/{VERSION}") if path.is_dir())


def being_prepared(data_dir: Path, database: str) -> str:
    """Returns the message of a process that waits for the lock."""
    return f"{data_dir / database}: the data set is being prepared"


def drawn_maps(face: FaceMaps) -> dict[str, np.ndarray]:
    """Returns the maps of a face that a record holds, by their names in `INPUT_MAPS`, as preprocessing drew them."""
    images = {name: getattr(face, name) for name, each in INPUT_MAPS.items() if each.scale == 1}
    return images | {n: face.masks[m.edge(IMAGE_SIZE)] for n, m in INPUT_MAPS.items() if m.scale < 1}


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
        **{INPUT_MAPS[name].record: _stored(drawn) for name, drawn in drawn_maps(maps).items()},
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
        "quality": np.str_(json.dumps({n: v if isinstance(v, str) else float(v) for n, v in maps.quality.items()})),
    }


def as_record(example: Mapping) -> dict[str, np.ndarray | np.generic]:
    """Returns the record that an example of the data set was made from, the texture's PNG compressed anew."""
    record: dict[str, np.ndarray | np.generic] = {"texture": np.frombuffer(_png(example["texture"]), np.uint8)}
    for name in set(example) - {"texture"}:
        value = example[name]
        record[name] = np.str_(value.decode()) if isinstance(value, bytes) else np.asarray(value)
    return record


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
