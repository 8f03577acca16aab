"""SHA-256 digests, in hex: of files, and of texts, bytes and arrays."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np


def digest_of_file(path: Path) -> str:
    """Returns the digest of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digest_of(*parts: str | bytes | np.ndarray) -> str:
    """Returns one digest of parts that follow one another: texts as UTF-8, arrays by their bytes in C order.

    Neither lengths, shapes nor types enter it: give them as a part of their own where they may differ.
    """
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            # Without a copy; and other threads go on meanwhile, since hashlib releases the interpreter's lock.
            whole.update(np.ascontiguousarray(part).reshape(-1).view(np.uint8).data)
        else:
            whole.update(part.encode("utf-8", "surrogateescape") if isinstance(part, str) else part)
    return whole.hexdigest()
