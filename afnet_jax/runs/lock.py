"""The locks of a run's folder: one for each process of the run, freed when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import os
import platform
from pathlib import Path

from afnet_jax.errors import RunError


class Lock:
    """A lock on a folder, held by this process until `close`.

    Args:
        folder: what is locked; made where it does not exist.
        process: index of this process among those of the run.
        processes: how many the run has.

    Raises:
        RunError: another process works in the folder, or the folder cannot be written to.
    """

    def __init__(self, folder: Path, process: int, processes: int):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._file = (folder / _name(process)).open("a+", encoding="utf-8")
        except OSError as error:
            raise RunError(f"{folder}: cannot be written to ({error.strerror}); give another --workdir") from error
        if not _try(self._file, fcntl.LOCK_EX):
            raise _held(folder, self._file)
        try:
            _refuse_orphans(folder, processes)
        except RunError:
            self._file.close()
            raise
        self._file.truncate(0)
        self._file.write(f"process {os.getpid()} on {platform.node()}")
        self._file.flush()

    def close(self) -> None:
        """Releases the folder."""
        self._file.close()


def _name(process: int) -> str:
    return f".lock-{process}"


def _refuse_orphans(folder: Path, processes: int) -> None:
    """Refuses a folder in which a process of an earlier run with more processes still works."""
    ours = {_name(process) for process in range(processes)}
    for path in folder.glob(".lock-*"):
        if path.name not in ours:
            with path.open("r", encoding="utf-8") as file:
                if not _try(file, fcntl.LOCK_SH):
                    raise _held(folder, file)


def _try(file, kind: int) -> bool:
    try:
        fcntl.flock(file, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(folder: Path, file) -> RunError:
    file.seek(0)
    holder = file.read().strip() or "unknown"
    file.close()
    return RunError(
        f"{folder}: a run is already under way here ({holder}); wait for it, stop it, or give another --workdir"
    )
