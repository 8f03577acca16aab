"""Raw files: found beside one another, and read within bounds."""

from __future__ import annotations

import functools
import os
import stat
import unicodedata
from pathlib import Path

from afnet_jax.scans.scan import ScanError


def read_bytes(path: Path, limit: int, what: str) -> bytes:
    """Reads a whole file of at most `limit` bytes; `what` names its role in the fault.

    Raises:
        ScanError: the file is missing, unreadable, empty or larger than `limit`.
    """
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # a pipe would never end, a folder has no bytes
            raise ScanError(path, f"the {what} is no plain file")
        if status.st_size > limit:
            raise ScanError(path, f"the {what} is larger than {limit:,} bytes; it is no file of a face scan")
        data = path.read_bytes()
    except FileNotFoundError:
        raise ScanError(path, f"the {what} is missing; put it beside the scan's other files") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a zero byte
        raise ScanError(path, f"the {what} cannot be read ({error})") from None
    if not data:
        raise ScanError(path, f"the {what} is empty; copy it again")
    return data


def beside(path: Path, name: str) -> Path:
    """Returns the file `name` in the same folder, whatever the case of its letters; as it is where there is none.

    Letters with accents are the same whether they are written as one character or as two, as macOS does.
    """
    exact = path.with_name(name)
    if exact.exists():
        return exact
    try:
        folder = path.parent
        same = _names(folder, folder.stat().st_mtime_ns).get(_alike(name))
    except OSError:
        return exact
    return folder / same if same else exact


@functools.lru_cache(4)
def _names(folder: Path, changed: int) -> dict[str, str]:
    """Names in a folder by their small letters; listed once, since a folder may hold thousands of scans.

    Args:
        folder: the folder.
        changed: when it was, which makes another listing of it.
    """
    return {_alike(name): name for name in sorted(os.listdir(folder), reverse=True)}  # of several the first counts


def _alike(name: str) -> str:
    return unicodedata.normalize("NFC", name).lower()


def with_suffix(path: Path, suffix: str) -> Path:
    """Returns the file of the same stem with another suffix, in whatever case the suffix is written."""
    return beside(path, path.with_suffix(suffix).name)
