"""Atomic writes: a file is there whole or not at all, whatever interrupts its writing."""

from __future__ import annotations

import contextlib
import json
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from afnet_jax.errors import RunError

# RuntimeError: a flipped bit calls a member of the archive encrypted, or compressed in an unknown way.
UNREADABLE_ARRAYS = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, RuntimeError)


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file in an OSError that names none, as that of a full disk does not."""
    try:
        yield
    except OSError as error:
        error.filename = error.filename or str(path)
        raise


@contextlib.contextmanager
def _whole_or_none(path: Path) -> Iterator[IO[bytes]]:
    """A file to write beside the path, moved onto it at the end; the process's id keeps two writers apart."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with naming(path):
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_atomically(path: Path, text: str) -> None:
    """Writes a text in UTF-8."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Writes bytes."""
    with _whole_or_none(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    """Writes JSON; NaN, which JSON lacks, is refused.

    Raises:
        ValueError: the content holds NaN or infinity.
    """
    write_atomically(path, json.dumps(content, indent=1, allow_nan=False) + "\n")


def write_arrays_atomically(path: Path, arrays: Mapping[str, np.ndarray | np.generic]) -> None:
    """Writes arrays as .npz."""
    with _whole_or_none(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]  # none of them is named allow_pickle


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
