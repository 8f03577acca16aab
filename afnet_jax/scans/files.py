"""Bytes of raw files, read within bounds."""

from __future__ import annotations

from pathlib import Path

from afnet_jax.scans.scan import ScanError


def read_bytes(path: Path, limit: int, what: str) -> bytes:
    """Reads a whole file of at most `limit` bytes; `what` names its role in the fault.

    Raises:
        ScanError: the file is missing, unreadable, empty or larger than `limit`.
    """
    try:
        with open(path, "rb") as file:
            data = file.read(limit + 1)
    except FileNotFoundError:
        raise ScanError(path, f"the {what} is missing; put it beside the scan's other files") from None
    except OSError as error:
        raise ScanError(path, f"the {what} cannot be read ({error.strerror})") from None
    if not data:
        raise ScanError(path, f"the {what} is empty; copy it again")
    if len(data) > limit:
        raise ScanError(path, f"the {what} is larger than {limit:,} bytes; it is no file of a face scan")
    return data
