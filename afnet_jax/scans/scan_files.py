"""Scan files among the paths that a user gives."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from afnet_jax.paths import user_path
from afnet_jax.scans.database import Database
from afnet_jax.scans.databases import is_scan, readable_databases, scans_of
from afnet_jax.scans.raw_folder import files_below
from afnet_jax.scans.scan import ScanError


def find_files(paths: Iterable[str | Path], databases: Sequence[Database] = ()) -> list[Path | ScanError]:
    """Scan files among paths: files as they are, folders with all the scans below them, sorted.

    A path that is not there, a folder without scans, or a name at which a reader fails comes out as its error, in its
    place.

    Args:
        paths: files and folders.
        databases: whose scans; by default all that can be read without a reader of the user's own.
    """
    databases = databases or readable_databases()
    found: list[Path | ScanError] = []
    for path in map(user_path, paths):
        if not path.exists():
            found.append(ScanError(path, "no such file or folder"))
        else:
            found += _scans_below(path, databases) if path.is_dir() else [path]
    return list(dict.fromkeys(found))


def refuse_overwriting(out: str | Path, paths: Iterable[Path | ScanError], databases: Sequence[Database] = ()) -> None:
    """Refuses a file to write that is one of a scan's: its mesh, picture, material or landmarks.

    Args:
        out: what shall be written.
        paths: of `find_files`.
        databases: as there.

    Raises:
        ScanError: it is.
    """
    target = user_path(out)
    if not target.exists():
        return
    for path in paths:
        if isinstance(path, Path):
            beside = (file for database in databases or readable_databases() for file in database.files_of(path))
            if any(file.samefile(target) for file in (path, *beside)):
                raise ScanError(target, f"belongs to the scan {path.name} and would be lost; write to another file")


def _scans_below(folder: Path, databases: Sequence[Database]) -> list[Path | ScanError]:
    found: list[Path | ScanError] = []
    try:
        for path in files_below(folder):
            try:
                found += [path] if is_scan(path, databases) else []
            except ScanError as error:
                found.append(error)
    except ScanError as error:  # a folder that cannot be read
        found.append(error)
    none = ScanError(folder, f"holds no scan, nor do its subfolders; expected {scans_of(databases)}")
    return found or [none]
