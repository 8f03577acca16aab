"""SHA-256 of a prepared data set's files, so that a flipped bit or a lost file is noticed before training.

Neither tfds nor array_record promises to notice either.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from afnet_jax.errors import DatasetError

FILE_NAME = "digests.json"


def write_digests(folder: Path, source: str) -> None:
    """Stores the digest of every file of a data set's folder in the folder's digests.json.

    Args:
        folder: the data set.
        source: digest of what the data set was made from; `read_source` gives it back.
    """
    files = {path.name: _digest(path) for path in _files(folder)}
    (folder / FILE_NAME).write_text(json.dumps({"source": source, "sha256": files}, indent=1) + "\n")


def verify(folder: str | Path) -> None:
    """Checks every file of a prepared data set against its stored digest.

    Raises:
        DatasetError: the folder or its digests are missing, or a file is missing, damaged or was added.
    """
    folder = Path(folder)
    expected = _read(folder)["sha256"]
    found = {path.name: path for path in _files(folder)}
    for name in sorted(set(expected) | set(found)):
        if name not in found:
            raise DatasetError(f"{folder}: {name} is missing; prepare the data set again")
        if name not in expected:
            raise DatasetError(f"{folder}: {name} is no file of this data set; move it away")
        if _digest(found[name]) != expected[name]:
            raise DatasetError(f"{folder}: {name} is damaged (its SHA-256 has changed); prepare the data set again")


def read_source(folder: Path) -> str:
    """The digest of what a data set was made from.

    Raises:
        DatasetError: the folder holds no digests, or damaged ones.
    """
    return _read(folder)["source"]


def _read(folder: Path) -> dict:
    path = folder / FILE_NAME
    try:
        stored = json.loads(path.read_text())
        if not isinstance(stored["sha256"], dict) or not isinstance(stored["source"], str):
            raise ValueError
    except FileNotFoundError:
        raise DatasetError(f"{folder}: no prepared data set here; make it with tools/prepare_dataset.py") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise DatasetError(f"{path}: damaged, expected the digests of a data set; prepare it again") from None
    return stored


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_file() and path.name != FILE_NAME)


def _digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
