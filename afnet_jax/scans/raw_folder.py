"""Finds the scans of the six expressions in a folder of raw files."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from afnet_jax.paths import user_path
from afnet_jax.scans.database import Database
from afnet_jax.scans.databases import DATABASES, database_of
from afnet_jax.scans.scan import EXPRESSION_CODES, NEUTRAL_CODE, ScanError, ScanId


class FoundScans(NamedTuple):
    """The scans of a raw folder.

    Attributes:
        scans: (id, path) of those that show one of the six expressions, sorted by name.
        left_out: why others are left out -> how many.
    """

    scans: list[tuple[ScanId, Path]]
    left_out: Mapping[str, int]


def find_scans(database: str | Database, folder: str | Path) -> list[tuple[ScanId, Path]]:
    """Finds the scans of the six expressions, at any depth below a database's folder, as `survey_scans` does.

    Returns:
        (id, path) of each, sorted by name.
    """
    return survey_scans(database, folder).scans


def survey_scans(database: str | Database, folder: str | Path) -> FoundScans:
    """Finds the scans of the six expressions, at any depth below a database's folder, and counts the others.

    Of BU-3DFE all levels, of Bosphorus the "E_" scans (paper, section III-A). Which levels take part is chosen when
    a data set is loaded. Neutral faces, action units, rotations and occlusions are left out. Ids come from the files'
    names. Links to folders are followed.

    Args:
        database: a name of DATABASES, or of `database_of`.
        folder: the raw database.

    Raises:
        DatasetError: an unknown database.
        ScanError: the folder is missing, holds no such scan, or holds one twice.
    """
    folder = user_path(folder)
    if isinstance(database, str):
        database = database_of(database)
    if not folder.is_dir():
        raise ScanError(folder, f"no such folder; give the one that holds the raw {database.name} scans")
    found: dict[str, tuple[ScanId, Path]] = {}
    left_out: Counter[str] = Counter()
    for path in files_below(folder):
        scan_id = database.scan_id(path)
        if scan_id is None:
            if path.suffix.lower() == database.main_suffix:
                left_out[f"{database.main_suffix} files that are none of the scans by their names"] += 1
        elif scan_id.label is None:
            left_out[_without_label(scan_id.expression)] += 1
        elif scan_id.name in found:
            raise ScanError(path, f"the same scan is also at {found[scan_id.name][1]}; remove one of the two")
        else:
            found[scan_id.name] = scan_id, path
    if not found:
        raise ScanError(folder, _why_none(database, folder, left_out))
    return FoundScans([found[name] for name in sorted(found)], dict(sorted(left_out.items())))


def _why_none(database: Database, folder: Path, left_out: Mapping[str, int]) -> str:
    paths = list(files_below(folder))
    for other in DATABASES.values():
        # Any .obj or .ply is a mesh: that tells nothing to one who gave a rule or a reader of his own for it.
        own = database.name not in DATABASES and other is DATABASES["mesh"]
        if other.reader is not database.reader and not own and any(other.scan_id(path) for path in paths):
            return f"holds scans of {other.name}, not of {database.name}; use --database={other.name}"
    if database is DATABASES["mesh"] and left_out:
        return (
            f"{sum(left_out.values())} meshes whose names tell no expression; give them a --database of their own and "
            "--naming=RULE, such as '{subject}_{expression}.obj' (docs/own_data.md)"
        )
    if any(database.scan_id(path) for path in paths):
        counts = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
        return f"none of its {database.name} scans shows one of the protocol's expressions ({counts}); add those"
    expected = f"no {database.name} scan in it or below, expected {database.scans}"
    advice = "give the folder that holds the subjects' folders"
    others = [path for path in paths if path.suffix.lower() == database.main_suffix]
    if not others:
        return f"{expected}; {advice}"
    if database.name not in DATABASES:
        advice = "change the names, or the rule or reader that shall take them"
    found = f"{len(others)} {database.main_suffix} files of other names, such as {others[0].relative_to(folder)}"
    return f"{expected}, found {found}; {advice}"


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
