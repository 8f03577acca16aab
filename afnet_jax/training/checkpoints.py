"""Orbax checkpoints with digests: what is damaged is noticed, and never used.

Orbax checks that files are whole, not that their bytes are right: of 25 flipped bits it restored 23 without a word.
So every checkpoint carries the SHA-256 of each of its arrays, compared whenever it is read.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import shutil
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging

from afnet_jax.errors import RunError


def digest_of_arrays(tree: Any) -> dict[str, str]:
    """Path of each array in a tree -> SHA-256 of its dtype, shape and bytes."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): _digest(np.asarray(leaf)) for path, leaf in leaves}


def _digest(array: np.ndarray) -> str:
    head = f"{array.dtype.str}{array.shape}".encode()
    return hashlib.sha256(head + np.ascontiguousarray(array).tobytes()).hexdigest()


def _digest_of_json(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def _checkpointer() -> ocp.Checkpointer:
    # Each process of a run saves its own trainings at its own time: Orbax must not wait for the others.
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process{process}"
    )
    # Weights hardly shrink, so compression would only cost time.
    arrays = ocp.PyTreeCheckpointHandler(use_compression=False, multiprocessing_options=alone)
    record = ocp.JsonCheckpointHandler(multiprocessing_options=alone)
    both = ocp.CompositeCheckpointHandler(
        arrays=arrays, record=record, composite_options=ocp.CompositeOptions(multiprocessing_options=alone)
    )
    return ocp.Checkpointer(both, multiprocessing_options=alone)


@contextlib.contextmanager
def _first_for_orbax() -> Iterator[None]:
    """Lets every process of a run write: of NumPy arrays Orbax writes those of the first one alone."""
    handlers = sys.modules[ocp.type_handlers.NumpyHandler.__module__]
    with mock.patch.object(handlers, "multihost", types.SimpleNamespace(process_index=lambda: 0)):
        yield


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keeps Orbax from printing tracebacks of what is told in one line, here and from its threads later on."""
    before = logging.get_verbosity()
    logging.set_verbosity(logging.FATAL)
    sys.unraisablehook = _unless_orphaned  # where one file fails, others finish when Orbax has closed its event loop
    try:
        yield
    finally:
        logging.set_verbosity(before)


def _unless_orphaned(unraisable) -> None:
    if "Event loop is closed" not in str(unraisable.exc_value):
        sys.__unraisablehook__(unraisable)


def _reason(error: Exception) -> str:
    """The one line that matters of what Orbax and tensorstore tell at length."""
    if "No space left on device" in str(error):
        return "no space left on the disk"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


class Checkpoints:
    """The checkpoints of one group of trainings, numbered by steps done; the newest two are kept.

    Each holds a tree of arrays, trainings stacked on axis 0, and a JSON record of what belongs to it.

    Args:
        folder: where they lie; made when the first one is written.
    """

    _KEPT = 2

    def __init__(self, folder: str | Path):
        self._folder = Path(folder).absolute()

    def steps(self) -> list[int]:
        """Numbers of the checkpoints there are, ascending; half-written ones do not count."""
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if path.name.isdigit())

    def save(self, step: int, arrays: Any, record: dict) -> None:
        """Writes checkpoint `step`, whole or not at all, then removes all but the newest two.

        Raises:
            RunError: it cannot be written, for want of space for example.
        """
        arrays = jax.tree.map(np.asarray, arrays)
        sealed: dict[str, Any] = {"record": record, "digests": digest_of_arrays(arrays)}
        sealed["seal"] = _digest_of_json(sealed)
        path = self._folder / str(step)
        args = ocp.args.Composite(arrays=ocp.args.PyTreeSave(arrays), record=ocp.args.JsonSave(sealed))
        try:
            with _quiet(), _first_for_orbax(), _checkpointer() as checkpointer:
                checkpointer.save(path, args=args, force=True)
        except Exception as error:  # whatever Orbax or tensorstore raises where a disk is full or gone
            self._remove_partial()  # which may be what fills the disk
            raise RunError(
                f"{path}: checkpoint cannot be written ({_reason(error)}); mend that and run the same command again: "
                f"it goes on from the checkpoint before"
            ) from error
        for old in self.steps()[: -self._KEPT]:
            shutil.rmtree(self._folder / str(old))

    def restore(self, step: int) -> tuple[Any, dict]:
        """Arrays (NumPy, nested dicts) and record of checkpoint `step`.

        Raises:
            RunError: damaged or unreadable.
        """
        path = self._folder / str(step)
        try:
            with _quiet(), _checkpointer() as checkpointer:
                read = checkpointer.restore(
                    path, args=ocp.args.Composite(arrays=ocp.args.PyTreeRestore(), record=ocp.args.JsonRestore())
                )
            arrays, sealed = jax.tree.map(np.asarray, read["arrays"]), read["record"]
            seal = sealed.pop("seal")
        except Exception as error:  # whatever Orbax, tensorstore or a JSON parser raises on a damaged file
            raise RunError(f"{path}: checkpoint cannot be read ({_reason(error)})") from error
        if seal != _digest_of_json(sealed):
            raise RunError(f"{path}: checkpoint record is damaged (its digest does not match)")
        found = digest_of_arrays(arrays)
        if found != sealed["digests"]:
            wrong = sorted(k for k in found.keys() | sealed["digests"] if found.get(k) != sealed["digests"].get(k))
            raise RunError(f"{path}: checkpoint is damaged: {wrong[0]} does not match its digest")
        return arrays, sealed["record"]

    def restore_newest(self) -> tuple[Any, dict] | None:
        """The newest good checkpoint, or None where none was ever written. Damaged newer ones are named and removed.

        Raises:
            RunError: there are checkpoints, and none of them is good.
        """
        self._remove_partial()  # of a process that was killed while it wrote
        steps = self.steps()
        damaged = []
        for step in reversed(steps):
            try:
                restored = self.restore(step)
            except RunError as error:
                logging.warning("%s; going back to the one before it", error)
                damaged.append(step)
                continue
            for newer in damaged:
                shutil.rmtree(self._folder / str(newer))
            return restored
        if steps:
            raise RunError(
                f"{self._folder}: none of the checkpoints {', '.join(map(str, steps))} can be used; "
                f"remove the folder to train this group from the start"
            )
        return None

    def _remove_partial(self) -> None:
        for partial in self._folder.glob("*.orbax-checkpoint-tmp*"):
            shutil.rmtree(partial, ignore_errors=True)

    def remove(self, *, but_newest: bool = False) -> None:
        """Deletes them all, or all but the newest one."""
        for step in self.steps()[: -1 if but_newest else None]:
            shutil.rmtree(self._folder / str(step))
