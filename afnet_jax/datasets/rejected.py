"""rejected.csv: the scans that could not be prepared, of all data sets in a folder."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path

from afnet_jax.atomic_files import write_bytes_atomically
from afnet_jax.errors import DatasetError

REJECTED = "rejected.csv"


@dataclasses.dataclass(frozen=True)
class Rejection:
    """A scan that could not be prepared, the file at fault, why, and the data set; "" where a list does not say."""

    scan: str
    file: str
    reason: str
    database: str = ""


def read_rejected(path: Path) -> tuple[Rejection, ...] | None:
    """Reads a list; None where there is none.

    Raises:
        DatasetError: the file is damaged.
    """
    try:
        with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
            return tuple(Rejection(**row) for row in csv.DictReader(file, strict=True))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, csv.Error):
        fields = ", ".join(field.name for field in dataclasses.fields(Rejection))
        raise DatasetError(f"{path}: damaged, expected the columns {fields}; remove it and prepare again") from None


def write_rejected(path: Path, rejected: Iterable[Rejection]) -> None:
    """Writes a list, with a line that names the columns."""
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(field.name for field in dataclasses.fields(Rejection))
    writer.writerows(dataclasses.astuple(rejection) for rejection in rejected)
    write_bytes_atomically(path, file.getvalue().encode("utf-8", "surrogateescape"))
