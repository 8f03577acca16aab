"""sources.json: which raw file each scan of a data set was made from, so that a data set can grow part by part."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.datasets import digests
from afnet_jax.datasets.records import as_record
from afnet_jax.errors import DatasetError
from afnet_jax.sha256 import digest_of

FILE_NAME = "sources.json"


class Source(NamedTuple):
    """The raw file of one scan.

    Attributes:
        raw: the folder that `prepare` was given, absolute; "" where the data set does not say.
        key: digest of the scan's files, their place and the code; names the finished scan.
    """

    raw: str
    key: str

    def finished(self, folder: Path, name: str) -> Path:
        """Returns the file that holds the finished scan of that name."""
        return folder / f"{name}-{self.key}.npz"


class Sources(NamedTuple):
    """The raw files of a data set.

    Attributes:
        code: digest of the code that made its records; "" where the data set does not say.
        scans: scan's name -> its source.
    """

    code: str
    scans: Mapping[str, Source]

    @property
    def digest(self) -> str:
        """SHA-256 of all entries."""
        keys = [f"{name}-{source.key}" for name, source in sorted(self.scans.items())]
        return digest_of(" ".join([self.code, *keys]))


def read_sources(folder: Path) -> Sources:
    """Reads what a data set was made from; of none where there is no data set.

    Raises:
        DatasetError: the file is damaged.
    """
    path = folder / FILE_NAME
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        return Sources(str(stored["code"]), {name: Source(*each) for name, each in stored["scans"].items()})
    except FileNotFoundError:
        return Sources("", {name: Source("", "") for name in _names(folder)})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise DatasetError(f"{path}: damaged; remove {folder} and prepare all its scans again") from None


def _names(folder: Path) -> Iterable[str]:
    """Returns the scans of a data set without sources.json; none where the set is damaged or missing."""
    try:
        digests.verify(folder)
    except DatasetError:
        return []
    from afnet_jax.datasets.builder import read_records  # here: workers, who import this module, need no tfds

    return [record["scan_id"].decode() for record in read_records(folder)]


def write_sources(folder: Path, sources: Sources) -> None:
    """Writes sources.json into a data set's folder."""
    text = json.dumps({"code": sources.code, "scans": sources.scans}, indent=1, sort_keys=True)
    (folder / FILE_NAME).write_text(text + "\n", encoding="utf-8")


def scans_to_keep(before: Sources, folder: Path, raw: str, code: str, names: Iterable[str]) -> dict[str, Source]:
    """Finds the scans of a data set that stay when those of one raw folder are prepared: those of other folders.

    Args:
        before: what the data set was made from.
        folder: the data set.
        raw: the raw folder, absolute.
        code: digest of the code that makes records now.
        names: scans that come from the raw folder now.

    Raises:
        DatasetError: there are such scans, but they are damaged or were made by other code.
    """
    named = set(names)
    kept = {n: source for n, source in before.scans.items() if source.raw != raw and n not in named}
    if not kept:
        return {}
    parts = ", ".join(sorted({source.raw for source in kept.values()} - {""})) or "other raw folders"
    there = f"{folder}: holds {len(kept)} scans of {parts}"
    remedy = f"remove {folder} and prepare every part again"
    if before.code != code:
        raise DatasetError(f"{there}, which another version of this program, or of the reader, prepared; {remedy}")
    try:
        digests.verify(folder)
    except DatasetError as error:
        raise DatasetError(f"{there}, but is damaged ({error}); {remedy}") from None
    return kept


def extract(folder: Path, wanted: Mapping[str, Source], finished: Path) -> None:
    """Writes scans of a data set as finished scans, those that are not there yet."""
    missing = {name: path for name, source in wanted.items() if not (path := source.finished(finished, name)).exists()}
    if not missing:
        return
    from afnet_jax.datasets.builder import read_records

    for example in read_records(folder):
        if (name := example["scan_id"].decode()) in missing:
            write_arrays_atomically(missing[name], as_record(example))
