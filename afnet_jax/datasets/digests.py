"""SHA-256 of a prepared data set's files, so that a flipped bit or a lost file is noticed before training.

Neither tfds nor array_record promises to notice either.
"""

from __future__ import annotations

import json
from pathlib import Path

from afnet_jax.errors import DatasetError
from afnet_jax.sha256 import digest_of_file

FILE_NAME = "digests.json"


def write_digests(folder: Path, source: str) -> None:
    """Stores the digest of every file of a data set's folder in the folder's digests.json.

    Args:
        folder: the data set.
        source: digest of what the data set was made from; `read_source` gives it back.
    """
    files = {path.name: digest_of_file(path) for path in _files(folder)}
    (folder / FILE_NAME).write_text(json.dumps({"source": source, "sha256": files}, indent=1) + "\n", encoding="utf-8")


def verify(folder: str | Path) -> None:
    """Checks every file of a prepared data set against its stored digest.

    Raises:
        DatasetError: the folder or its digests are missing, a file is missing or damaged, or one of records was added.
            What file managers leave (.DS_Store, ._…, Thumbs.db) and other strangers do no harm and are not looked at.
    """
    folder = Path(folder)
    expected = _read(folder)["sha256"]
    found = {path.name: path for path in _files(folder)}
    for name in sorted(set(expected) | set(found)):
        if _is_left_by_a_file_manager(name):
            continue
        if name not in found:
            raise DatasetError(f"{folder}: {name} is missing; prepare the data set again")
        if name not in expected and ".array_record" in name:
            raise DatasetError(f"{folder}: {name} is no file of this data set; move it away")
        if name in expected and digest_of_file(found[name]) != expected[name]:
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
        stored = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(stored["sha256"], dict) or not isinstance(stored["source"], str):
            raise ValueError
    except FileNotFoundError:
        raise DatasetError(f"{folder}: no prepared data set here; make it with afnet prepare") from None
    except (OSError, ValueError, KeyError, TypeError):
        raise DatasetError(f"{path}: damaged, expected the digests of a data set; prepare it again") from None
    return stored


def _files(folder: Path) -> list[Path]:
    files = (path for path in folder.iterdir() if path.is_file() and path.name != FILE_NAME)
    return sorted(path for path in files if not _is_left_by_a_file_manager(path.name))


def _is_left_by_a_file_manager(name: str) -> bool:
    return name.startswith(".") or name.lower() in ("thumbs.db", "desktop.ini")
