"""Files that are there whole or not at all, whatever interrupts their writing."""

from __future__ import annotations

import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from afnet_jax.errors import RunError

UNREADABLE_ARRAYS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile)


def write_atomically(path: Path, text: str) -> None:
    """Writes a whole file or, if interrupted, none."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON likewise; NaN, which JSON lacks, is refused.

    Raises:
        ValueError: the content holds NaN or infinity.
    """
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_arrays_atomically(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an .npz likewise."""
    partial = path.with_name(path.name + ".partial")
    with partial.open("wb") as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # none of them is named allow_pickle
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def read_json(path: Path, *, remedy: str) -> Any:
    """Returns a JSON file's content.

    Raises:
        RunError: it is not there or damaged; ends with the remedy.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: cannot be read ({error}); {remedy}") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns an .npz file's arrays; raises one of UNREADABLE_ARRAYS where that fails."""
    with np.load(path, allow_pickle=False) as file:
        return dict(file)
