"""Landmarks beside a mesh: NAME.landmarks.json or NAME.landmarks.csv, in the mesh's own units and frame.

JSON: {"nose_tip": [x, y, z], …}. CSV: lines `name,x,y,z`, between semicolons or tabs if you like; a first line that
names the columns is passed over.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np

from afnet_jax.scans.files import beside, read_bytes
from afnet_jax.scans.scan import LANDMARKS, ScanError

SUFFIXES = (".landmarks.json", ".landmarks.csv")
_MAX_BYTES = 100_000
_MOST_NAMED = 8


def read_landmarks(mesh: Path) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    """Reads the landmarks of a mesh, {} where no file holds any, and remarks on names that nothing knows.

    Raises:
        ScanError: both files are there, or the one is damaged.
    """
    found = [file for suffix in SUFFIXES if (file := beside(mesh, mesh.stem + suffix)).exists()]
    if len(found) > 1:
        raise ScanError(found[1], f"the landmarks are also in {found[0].name}; remove one of the two")
    if not found:
        return {}, ()
    text = _text(found[0])
    landmarks = _of_json(found[0], text) if found[0].suffix.lower() == ".json" else _of_csv(found[0], text)
    unknown = [name for name in landmarks if name not in LANDMARKS]
    if not unknown:
        return landmarks, ()
    named = ", ".join(unknown[:_MOST_NAMED])
    if (more := len(unknown) - _MOST_NAMED) > 0:
        named += f" and {more} more"
    return landmarks, (f"landmarks of names that nothing uses: {named}; LANDMARKS in scans/scan.py lists the names",)


def _text(path: Path) -> str:
    try:
        return read_bytes(path, _MAX_BYTES, "landmark file").decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ScanError(path, "the landmark file is no UTF-8 text; copy it again") from None


def _of_json(path: Path, text: str) -> dict[str, np.ndarray]:
    try:
        content = json.loads(text, object_pairs_hook=lambda pairs: pairs)
    except (ValueError, RecursionError):
        raise ScanError(path, 'no JSON, or cut short; expected {"nose_tip": [x, y, z], …}') from None
    pairs = content if isinstance(content, list) and all(isinstance(each, tuple) for each in content) else None
    if pairs is None:
        raise ScanError(path, 'expected one object, {"nose_tip": [x, y, z], …}')
    return _checked(path, pairs)


def _of_csv(path: Path, text: str) -> dict[str, np.ndarray]:
    lines = [line for line in text.splitlines() if line.strip()]
    separator = next((each for each in ",;\t" if lines and lines[0].count(each) == 3), ",")
    try:
        rows = [row for row in csv.reader(lines, delimiter=separator) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise ScanError(path, f"no CSV ({error}); expected lines name,x,y,z") from None
    if rows and [cell.strip().lower() for cell in rows[0][1:]] == ["x", "y", "z"]:
        rows = rows[1:]
    return _checked(path, [(row[0].strip(), row[1:]) for row in rows])


def _checked(path: Path, pairs: list[tuple[str, object]]) -> dict[str, np.ndarray]:
    landmarks: dict[str, np.ndarray] = {}
    for name, place in pairs:
        if name in landmarks:
            raise ScanError(path, f"landmark {name[:60]} stands twice; remove one of the two")
        try:
            at = np.array(place, np.float64)
        except (TypeError, ValueError, OverflowError):
            at = np.zeros(0)
        if at.shape != (3,) or not np.isfinite(at).all() or not name.isprintable():
            raise ScanError(path, f"landmark {name[:60]!r}: expected three numbers x, y, z, found {str(place)[:60]}")
        landmarks[name] = at
    return landmarks
