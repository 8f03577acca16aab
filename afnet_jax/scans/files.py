"""Raw files: found beside one another, and read within bounds."""

from __future__ import annotations

import stat
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
    """Returns the file `name` in the same folder, whatever the case of its letters; as it is where there is none."""
    exact = path.with_name(name)
    if exact.exists():
        return exact
    try:
        same = sorted(each for each in path.parent.iterdir() if each.name.lower() == name.lower())
    except OSError:
        return exact
    return same[0] if same else exact


def with_suffix(path: Path, suffix: str) -> Path:
    """Returns the file of the same stem with another suffix, in whatever case the suffix is written."""
    return beside(path, path.with_suffix(suffix).name)
