"""Describes one database of face scans to the rest of the project, and reads its files by the database's reader."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

from afnet_jax.errors import in_one_line
from afnet_jax.paths import user_path
from afnet_jax.scans.files import with_suffix
from afnet_jax.scans.scan import Scan, ScanError, ScanId, ScanIdError
from afnet_jax.scans.validity import validated


class Reader(Protocol):
    """Reads a database's files: a module, or a user's own file. SUFFIXES are those of the files of one scan.

    Where a file names others (a mesh its pictures), `named_files(path)` may return them: prepared records follow them.
    """

    __file__: str | None

    @property
    def SUFFIXES(self) -> Sequence[str]: ...

    def scan_id(self, path: Path, database: str) -> ScanId:
        """Returns the identity that a file's name tells.

        Raises:
            ScanIdError: it is a scan by its name, but with an identity that cannot be used.
            ScanError: it is no scan of this database.
        """

    def read_scan(self, path: Path) -> Scan:
        """Reads a scan, `validated`; raises ScanError."""


@dataclasses.dataclass(frozen=True)
class Database:
    """One database: everything that differs from one to the next.

    Attributes:
        name: config.dataset.name, and the folder of the prepared data set.
        title: its name in tables and reports.
        reader: of its files.
        scans: what one of its scans is, as messages say it: "a Bosphorus range grid (….bnt)".
        description: of the tfds data set.
        settings: fields of the config that differ from the defaults, "model.pretrained" -> "imagenet".
        paper: accuracies in the paper, %: our variant, or the name of another method -> accuracy.
        is_synthetic: its subjects are nobody's, and are made where there are none yet.
    """

    name: str
    title: str
    reader: Reader
    scans: str
    description: str
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    paper: Mapping[str, float] = dataclasses.field(default_factory=dict)
    is_synthetic: bool = False

    @property
    def main_suffix(self) -> str:
        """The suffix of the file that stands for a scan, in small letters."""
        return str(next(iter(self.reader.SUFFIXES), "")).lower()

    def scan_id(self, path: Path) -> ScanId | None:
        """Returns the identity that a file's name tells; None where it is no scan of this database.

        Raises:
            ScanError: a scan by its name, whose identity cannot be used.
        """
        try:
            return dataclasses.replace(self.reader.scan_id(path, self.name), database=self.name)
        except ScanIdError as error:
            raise ScanError(path, error.fault) from None
        except ScanError:
            return None

    def files_of(self, path: Path) -> list[Path]:
        """Returns the existing files of one scan: those of its stem, and those that the reader finds named in it."""
        files = [with_suffix(path, suffix) for suffix in self.reader.SUFFIXES]
        if named_files := getattr(self.reader, "named_files", None):
            files += named_files(path)
        return [file for file in dict.fromkeys(files) if file.exists()]

    def read_scan(self, path: str | Path) -> Scan:
        """Reads one scan.

        Raises:
            ScanError: the file is of another kind, missing or broken, or the files beside it are.
        """
        scan = self.reader.read_scan(user_path(path))
        return dataclasses.replace(scan, id=dataclasses.replace(scan.id, database=self.name))


class OwnReader:
    """A user's Python file as a reader, docs/own_data.md shows one; whatever it raises becomes a ScanError.

    Args:
        path: the file. It is run, and must define SUFFIXES, scan_id and read_scan.

    Raises:
        ScanError: it cannot be run, or lacks one of them.
    """

    def __init__(self, path: str | Path):
        file = user_path(path).absolute()
        self.__file__: str | None = str(file)
        self._module = _run(file)
        if missing := [name for name in ("SUFFIXES", "scan_id", "read_scan") if not hasattr(self._module, name)]:
            raise ScanError(file, f"the reader lacks {', '.join(missing)}; docs/own_data.md shows a whole one")
        self.SUFFIXES = self._module.SUFFIXES
        if not isinstance(self.SUFFIXES, tuple | list) or not all(
            isinstance(suffix, str) and suffix[:1] == "." for suffix in self.SUFFIXES
        ):
            raise ScanError(
                file, f'the reader\'s SUFFIXES are {self.SUFFIXES!r:.60}, expected such as (".npy", ".png")'
            )

    def scan_id(self, path: Path, database: str) -> ScanId:
        """Returns what the file's scan_id does, checked."""
        try:
            scan_id = self._module.scan_id(path, database)
        except ScanError:
            raise
        except (Exception, SystemExit) as error:
            fault = f"the reader's scan_id fails on this name: {in_one_line(error)}"
            raise ScanIdError(path, f"{fault}; for a file that is no scan it raises ScanError") from error
        if not isinstance(scan_id, ScanId):
            raise ScanIdError(path, f"the reader's scan_id returns {type(scan_id).__name__}, expected a ScanId")
        return scan_id

    def read_scan(self, path: Path) -> Scan:
        """Returns what the file's read_scan does, checked and `validated`."""
        try:
            scan = self._module.read_scan(path)
        except ScanError:
            raise
        except (Exception, SystemExit) as error:  # whatever somebody else's code raises, one scan is at fault
            raise ScanError(path, f"the reader fails on it: {in_one_line(error)}") from error
        if not isinstance(scan, Scan):
            raise ScanError(path, f"the reader returns {type(scan).__name__}, expected an afnet_jax.scans.Scan")
        return validated(scan)


def _run(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("own_reader", path)
    if spec is None or spec.loader is None or not path.is_file():
        raise ScanError(path, "no such file, or no .py; give the Python file that reads your scans")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses of the file look for it
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise ScanError(path, f"the reader cannot be run: {in_one_line(error)}") from error
    return module
