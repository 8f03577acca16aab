"""The databases by name: which files are theirs, and which of their scans the protocol uses."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

from afnet_jax.scans import bosphorus, bu3dfe
from afnet_jax.scans.scan import Scan, ScanError, ScanId
from afnet_jax.scans.validity import validated

# Made-up people are written in BU-3DFE's format.
DATABASES = {"bu3dfe": bu3dfe, "bosphorus": bosphorus, "synthetic": bu3dfe}
_BY_SUFFIX = {".wrl": bu3dfe, ".bnt": bosphorus}
_PROTOCOL_LEVELS = (None, 3, 4)
OWN = "own"  # scans of the user's own, once `use_reader` has been told how to read them
_OF_A_READER = ("SUFFIXES", "scan_id", "read_scan")


def use_reader(path: str | Path) -> None:
    """Takes a Python file of one's own as the reader of the database "own"; docs/own_data.md shows one.

    Args:
        path: the file. It is run, and must define what `bosphorus` and `bu3dfe` define: SUFFIXES, scan_id, read_scan.

    Raises:
        ScanError: it cannot be run, or lacks one of them.
    """
    path = Path(path)
    spec = importlib.util.spec_from_file_location("own_reader", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ScanError(path, "no such file, or no .py; give the Python file that reads your scans")
    reader = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(reader)
    except Exception as error:
        raise ScanError(path, f"the reader cannot be run: {type(error).__name__}: {error}") from error
    if missing := [name for name in _OF_A_READER if not hasattr(reader, name)]:
        raise ScanError(path, f"the reader lacks {', '.join(missing)}; docs/own_data.md shows a whole one")
    DATABASES[OWN] = reader


def read_scan(path: str | Path, database: str | None = None) -> Scan:
    """Reads one scan of any database, which its file's name tells.

    Args:
        path: a BU-3DFE face mesh (…_F3D.wrl) or a Bosphorus range grid (….bnt), its texture and landmarks beside it.
        database: name for the scan's id, where it is not the format's own ("synthetic").

    Raises:
        ScanError: the file is of another kind, missing or broken, or the files beside it are.
    """
    path = Path(path)
    if OWN in DATABASES and (database == OWN or _scan_id(OWN, path)):
        return validated(_read_own(path))
    if path.suffix not in _BY_SUFFIX:
        what = "a folder" if path.is_dir() else f"a {path.suffix or 'nameless'} file"
        raise ScanError(path, f"found {what}, expected a BU-3DFE mesh (…_F3D.wrl) or a Bosphorus range grid (….bnt)")
    reader = _BY_SUFFIX[path.suffix]
    return reader.read_scan(path, database) if database else reader.read_scan(path)


def _read_own(path: Path) -> Scan:
    try:
        return DATABASES[OWN].read_scan(path)
    except ScanError:
        raise
    except Exception as error:  # whatever somebody else's code raises, one scan is at fault, not the work
        raise ScanError(path, f"the reader fails on it: {type(error).__name__}: {error}") from error


def find_scans(database: str, folder: str | Path) -> list[tuple[ScanId, Path]]:
    """Finds the scans that the protocol uses, at any depth below a database's folder.

    Those are the six expressions; of BU-3DFE at levels 3 and 4, of Bosphorus the "E_" scans (paper, section III-A).
    Neutral faces, other levels, action units, rotations and occlusions are left out. Ids come from the files' names.

    Args:
        database: "bu3dfe", "bosphorus", "synthetic", or "own" after `use_reader`.
        folder: the raw database.

    Returns:
        (id, path) of each, sorted by name.

    Raises:
        ScanError: the folder is missing, holds no such scan, or holds one twice.
    """
    folder = Path(folder)
    if database not in DATABASES:
        raise ScanError(
            folder, f"unknown database {database!r}, expected one of {', '.join(DATABASES)}, or own with --reader=FILE"
        )
    if not folder.is_dir():
        raise ScanError(folder, f"no such folder; give the one that holds the raw {database} scans")
    found: dict[str, tuple[ScanId, Path]] = {}
    for path in _files(folder):
        scan_id = _scan_id(database, path)
        if scan_id is None or scan_id.label is None or scan_id.level not in _PROTOCOL_LEVELS:
            continue
        if scan_id.name in found:
            raise ScanError(path, f"the same scan is also at {found[scan_id.name][1]}; remove one of the two")
        found[scan_id.name] = scan_id, path
    if not found:
        raise ScanError(folder, _why_none(database, folder))
    return [found[name] for name in sorted(found)]


def _files(folder: Path):
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names if not name.startswith("."))


def _scan_id(database: str, path: Path) -> ScanId | None:
    try:
        return DATABASES[database].scan_id(path, database)
    except ScanError:
        return None
    except Exception as error:
        if database != OWN:
            raise
        raise ScanError(
            path,
            f"the reader's scan_id fails on this name: {type(error).__name__}: {error}; for a file that is no "
            "scan it raises ScanError",
        ) from error


def _why_none(database: str, folder: Path) -> str:
    paths = list(_files(folder))
    for other, reader in DATABASES.items():
        if reader is not DATABASES[database] and any(_scan_id(other, path) for path in paths):
            return f"holds scans of {other}, not of {database}; use --database={other}"
    if any(_scan_id(database, path) for path in paths):
        return f"none of its {database} scans shows one of the protocol's expressions (at level 3 or 4); add those"
    kinds = {bu3dfe: "…_F3D.wrl", bosphorus: "…_E_….bnt"}
    kind = kinds.get(DATABASES[database], "a file whose name your reader's scan_id takes")
    return f"no {database} scan ({kind}) in it or below; give the folder that holds the subjects' folders"
