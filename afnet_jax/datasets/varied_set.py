"""The data set of varied synthetic subjects: drawn once by several processes, kept, and loaded as arrays."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import numpy as np
from tqdm import tqdm

from afnet_jax.atomic_files import UNREADABLE_ARRAYS, read_arrays, write_arrays_atomically, write_json
from afnet_jax.datasets.reduction import stack
from afnet_jax.datasets.varied_maps import draw_faces
from afnet_jax.errors import DatasetError
from afnet_jax.file_lock import write_lock
from afnet_jax.machine import usable_cores
from afnet_jax.maps import INPUT_MAPS
from afnet_jax.scans.scan import EXPRESSION_CODES
from afnet_jax.workers import worker_processes

GENERATION = 4  # of the faces: whatever changes any of them raises it
_PER_FILE = 50  # subjects
_STORED = tuple(name for name, each in INPUT_MAPS.items() if each.record)

Columns = dict[str, np.ndarray]


def prepare_varied(data_dir: Path, subjects: int, seed: int, size: int) -> Path:
    """Draws the data set where it is not there yet; interrupted, it goes on with the next file.

    Args:
        data_dir: where data sets lie.
        subjects: how many subjects, each with every expression.
        seed: who they are.
        size: edge of the images, pixels.

    Returns:
        Its folder: each choice of subjects and size has its own.
    """
    folder = data_dir / f"varied-{subjects}-subjects-seed-{seed}-{size}-px-v{GENERATION}"
    finished = folder / "finished.json"
    if finished.exists():
        return folder
    with write_lock(data_dir / f".{folder.name}.lock", f"{folder}: varied subjects are being drawn"):
        if not finished.exists():  # drawn by the process that was waited for
            folder.mkdir(parents=True, exist_ok=True)
            starts = range(0, subjects, _PER_FILE)
            job = functools.partial(_write_file, subjects=subjects, seed=seed, size=size, folder=folder)
            with (
                worker_processes(usable_cores()) as pool,
                tqdm(total=subjects, unit="subject", desc="drawing varied subjects", mininterval=1.0) as bar,
            ):
                for count in pool.map(job, starts):
                    bar.update(count)
            write_json(finished, {"subjects": subjects, "seed": seed, "size": size})
    return folder


def _write_file(start: int, *, subjects: int, seed: int, size: int, folder: Path) -> int:
    numbers = range(start, min(start + _PER_FILE, subjects))
    path = folder / f"faces-{start:06d}.npz"
    if not path.exists():
        maps = stack([face.maps for number in numbers for face in draw_faces(number, seed, size)])
        write_arrays_atomically(path, {name: getattr(maps, name) for name in _STORED})
    return len(numbers)


def load_varied(folder: Path) -> Columns:
    """Returns the maps by name, label, scan_id, subject and level of all faces, in the order of scan ids.

    Raises:
        DatasetError: a file is damaged or missing.
    """
    finished, parts = folder / "finished.json", []
    try:
        subjects = int(json.loads(finished.read_text(encoding="utf-8"))["subjects"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DatasetError(f"{finished}: damaged ({error}); {_remedy(folder)}") from error
    for start in range(0, subjects, _PER_FILE):
        path = folder / f"faces-{start:06d}.npz"
        try:
            parts.append(read_arrays(path))
        except UNREADABLE_ARRAYS as error:
            raise DatasetError(f"{path}: damaged ({error}); {_remedy(folder)}") from error
    names = [f"V{number:06d}" for number in range(subjects)]
    count = len(EXPRESSION_CODES)
    return {
        **{name: np.concatenate([part[name] for part in parts]) for name in _STORED},
        "label": np.tile(np.arange(count, dtype=np.int32), subjects),
        "scan_id": np.array([f"{name}_{code}" for name in names for code in EXPRESSION_CODES]),
        "subject": np.repeat(names, count),
        "level": np.zeros(count * subjects, np.int64),
    }


def _remedy(folder: Path) -> str:
    return f"remove {folder} and run again, it is drawn anew"
