"""The databases by name: which files are theirs, and which of their scans show an expression."""

from __future__ import annotations

import importlib.util
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from afnet_jax.paths import user_path
from afnet_jax.scans import bosphorus, bu3dfe, meshes
from afnet_jax.scans.scan import EXPRESSION_CODES, NEUTRAL_CODE, Scan, ScanError, ScanId, ScanIdError
from afnet_jax.scans.validity import validated

# Made-up people are written in BU-3DFE's format.
DATABASES = {"bu3dfe": bu3dfe, "bosphorus": bosphorus, "synthetic": bu3dfe, "mesh": meshes}
_BY_SUFFIX = {".wrl": bu3dfe, ".bnt": bosphorus, **dict.fromkeys(meshes.FORMATS, meshes)}
OWN = "own"  # scans of the user's own, once `use_reader` has been told how to read them
_OF_A_READER = ("SUFFIXES", "scan_id", "read_scan")


def use_reader(path: str | Path) -> None:
    """Takes a Python file of one's own as the reader of the database "own"; docs/own_data.md shows one.

    Args:
        path: the file. It is run, and must define what `bosphorus` and `bu3dfe` define: SUFFIXES, scan_id, read_scan.

    Raises:
        ScanError: it cannot be run, or lacks one of them.
    """
    path = user_path(path)
    spec = importlib.util.spec_from_file_location("own_reader", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ScanError(path, "no such file, or no .py; give the Python file that reads your scans")
    reader = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(reader)
    except (Exception, SystemExit) as error:
        raise ScanError(path, f"the reader cannot be run: {in_one_line(error)}") from error
    if missing := [name for name in _OF_A_READER if not hasattr(reader, name)]:
        raise ScanError(path, f"the reader lacks {', '.join(missing)}; docs/own_data.md shows a whole one")
    suffixes = reader.SUFFIXES
    if not isinstance(suffixes, tuple | list) or not all(isinstance(s, str) and s[:1] == "." for s in suffixes):
        raise ScanError(path, f'the reader\'s SUFFIXES are {suffixes!r:.60}, expected such as (".npy", ".png")')
    DATABASES[OWN] = reader


def in_one_line(error: BaseException) -> str:
    """Returns an exception's name and message without line breaks."""
    return " ".join(f"{type(error).__name__}: {error}".split())


def read_scan(path: str | Path, database: str | None = None) -> Scan:
    """Reads one scan of any database, which its file's name tells.

    Args:
        path: a BU-3DFE face mesh (…_F3D.wrl), a Bosphorus range grid (….bnt) or a mesh of any origin (.obj, .ply,
            .glb, .gltf, .stl), its texture and landmarks beside it.
        database: name for the scan's id, where it is not the format's own ("synthetic").

    Raises:
        ScanError: the file is of another kind, missing or broken, or the files beside it are.
    """
    path = user_path(path)
    if OWN in DATABASES and (database == OWN or _scan_id(OWN, path)):
        return _read_own(path)
    if path.suffix.lower() not in _BY_SUFFIX:
        what = "a folder" if path.is_dir() else f"a {path.suffix or 'nameless'} file"
        known = f"a BU-3DFE mesh (…_F3D.wrl), a Bosphorus range grid (….bnt) or a mesh ({', '.join(meshes.FORMATS)})"
        raise ScanError(path, f"found {what}, expected {known}")
    reader = _BY_SUFFIX[path.suffix.lower()]
    return reader.read_scan(path, database) if database else reader.read_scan(path)


def _read_own(path: Path) -> Scan:
    try:
        scan = DATABASES[OWN].read_scan(path)
    except ScanError:
        raise
    except (Exception, SystemExit) as error:  # whatever somebody else's code raises, one scan is at fault
        raise ScanError(path, f"the reader fails on it: {in_one_line(error)}") from error
    if not isinstance(scan, Scan):
        raise ScanError(path, f"the reader returns {type(scan).__name__}, expected an afnet_jax.scans.Scan")
    return validated(scan)


class FoundScans(NamedTuple):
    """What a raw folder holds.

    Attributes:
        scans: (id, path) of those that show one of the six expressions, sorted by name.
        left_out: why others are left out -> how many.
    """

    scans: list[tuple[ScanId, Path]]
    left_out: Mapping[str, int]


def find_scans(database: str, folder: str | Path) -> list[tuple[ScanId, Path]]:
    """Finds the scans of the six expressions, at any depth below a database's folder, as `survey_scans` does.

    Returns:
        (id, path) of each, sorted by name.
    """
    return survey_scans(database, folder).scans


def survey_scans(database: str, folder: str | Path) -> FoundScans:
    """Finds the scans of the six expressions, at any depth below a database's folder, and counts the others.

    Of BU-3DFE all levels, of Bosphorus the "E_" scans (paper, section III-A). Which levels take part is chosen when
    a data set is loaded. Neutral faces, action units, rotations and occlusions are left out. Ids come from the files'
    names. Links to folders are followed.

    Args:
        database: "bu3dfe", "bosphorus", "synthetic", or "own" after `use_reader`.
        folder: the raw database.

    Raises:
        ScanError: the folder is missing, holds no such scan, or holds one twice.
    """
    folder = user_path(folder)
    if database not in DATABASES:
        raise ScanError(
            folder, f"unknown database {database!r}, expected one of {', '.join(DATABASES)}, or own with --reader=FILE"
        )
    if not folder.is_dir():
        raise ScanError(folder, f"no such folder; give the one that holds the raw {database} scans")
    found: dict[str, tuple[ScanId, Path]] = {}
    left_out: Counter[str] = Counter()
    main_suffix = str(next(iter(DATABASES[database].SUFFIXES), "")).lower()
    for path in files_below(folder):
        scan_id = _scan_id(database, path)
        if scan_id is None:
            if path.suffix.lower() == main_suffix:
                left_out[f"{main_suffix} files that are none of the scans by their names"] += 1
        elif scan_id.label is None:
            left_out[_without_label(scan_id.expression)] += 1
        elif scan_id.name in found:
            raise ScanError(path, f"the same scan is also at {found[scan_id.name][1]}; remove one of the two")
        else:
            found[scan_id.name] = scan_id, path
    if not found:
        raise ScanError(folder, _why_none(database, folder, left_out))
    return FoundScans([found[name] for name in sorted(found)], dict(sorted(left_out.items())))


def _without_label(expression: str) -> str:
    if expression == NEUTRAL_CODE:
        return "neutral faces (NE)"
    return f"faces that show {expression!r:.40}, none of {', '.join(EXPRESSION_CODES)}"


def files_below(folder: Path) -> Iterator[Path]:
    """The files at any depth below a folder, sorted, hidden ones left out; links are followed.

    A folder is entered once, and a file is given once under one name: a link beside what it leads to is no second scan.

    Raises:
        ScanError: a folder that cannot be read.
    """
    met = {os.path.realpath(folder)}

    def is_new(place: str, name: str, what: str = "") -> bool:
        key = os.path.realpath(os.path.join(place, name)) + what
        return not (key in met or met.add(key))  # type: ignore[func-returns-value]

    for place, folders, names in os.walk(folder, followlinks=True, onerror=_refuse_folder):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".") and is_new(place, name)]
        for name in sorted(names):
            if not name.startswith(".") and is_new(place, name, f"/{name}"):
                yield Path(place, name)


def _refuse_folder(error: OSError) -> None:
    raise ScanError(error.filename, f"the folder cannot be read ({error.strerror}); give yourself the right to")


def is_scan(path: Path) -> bool:
    """Whether a file is a scan of any database by its name.

    Raises:
        ScanError: the user's own reader fails on the name.
    """
    return any(_scan_id(database, path) for database in DATABASES)


def _scan_id(database: str, path: Path) -> ScanId | None:
    try:
        scan_id = DATABASES[database].scan_id(path, database)
    except ScanIdError as error:
        raise ScanError(path, error.fault) from None
    except ScanError:
        return None
    except Exception as error:
        if database != OWN:
            raise
        raise ScanError(
            path,
            f"the reader's scan_id fails on this name: {in_one_line(error)}; for a file that is no "
            "scan it raises ScanError",
        ) from error
    if not isinstance(scan_id, ScanId):
        raise ScanError(path, f"the reader's scan_id returns {type(scan_id).__name__}, expected a ScanId")
    return scan_id


def _why_none(database: str, folder: Path, left_out: Mapping[str, int]) -> str:
    paths = list(files_below(folder))
    for other, reader in DATABASES.items():
        if reader is not DATABASES[database] and any(_scan_id(other, path) for path in paths):
            return f"holds scans of {other}, not of {database}; use --database={other}"
    if any(_scan_id(database, path) for path in paths):
        counts = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        return f"none of its {database} scans shows one of the protocol's expressions ({counts}); add those"
    kinds = {bu3dfe: "…_F3D.wrl", bosphorus: "…_E_….bnt"}
    kind = kinds.get(DATABASES[database], "a file whose name your reader's scan_id takes")
    return f"no {database} scan ({kind}) in it or below; give the folder that holds the subjects' folders"
