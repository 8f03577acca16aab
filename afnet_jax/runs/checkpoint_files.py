"""One Orbax checkpoint with digests: what is damaged is noticed, and never used.

Orbax checks that files are whole, not that their bytes are right: of 25 flipped bits it restored 23 without a word.
So every checkpoint carries the SHA-256 of each of its arrays, compared whenever it is read.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp

from afnet_jax.errors import RunError
from afnet_jax.sha256 import digest_of

PARTIAL = "*.orbax-checkpoint-tmp*"
_RECORD_FILE = "metadata"


def digest_of_arrays(tree: Any) -> dict[str, str]:
    """Path of each array in a tree -> SHA-256 of its dtype, shape and bytes."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): _digest(np.asarray(leaf)) for path, leaf in leaves}


def _digest(array: np.ndarray) -> str:
    return digest_of(f"{array.dtype.str}{array.shape}", array)


def _digest_of_json(value: Any) -> str:
    return digest_of(json.dumps(value, sort_keys=True))


class _EveryProcessWrites(ocp.type_handlers.NumpyHandler):
    """Orbax's handler of NumPy arrays, for processes that each save arrays of their own.

    Orbax takes NumPy arrays for copies of the same on every process and writes those of the first process alone.
    """

    def __init__(self):
        super().__init__(deepcopy_host_arrays=False)  # nobody alters what is given to `save`

    async def _background_serialize(self, values, infos, args=None):
        writes = []
        for value, info, arg in zip(values, infos, args, strict=True):
            await info.await_path_creation()
            spec = ocp.type_handlers.get_json_tspec_write(
                info,
                use_ocdbt=info.is_ocdbt_checkpoint,
                global_shape=value.shape,
                local_shape=value.shape,
                dtype=value.dtype,
                process_index=jax.process_index() if info.is_ocdbt_checkpoint else None,
                arg=arg,
            )
            writes.append(self._open_and_write(value, spec, info.ts_context))
        await _all(writes)

    async def deserialize(self, infos, args=None):
        read = super().deserialize
        each = args or [ocp.RestoreArgs()] * len(infos)
        found = await _all([read([info], [arg]) for info, arg in zip(infos, each, strict=True)])
        return [array for (array,) in found]


async def _all(tasks: list) -> list:
    """Results of all tasks, which have all ended when the first fault is raised: none may outlive the event loop."""
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    for outcome in outcomes:
        if isinstance(outcome, BaseException):
            raise outcome
    return outcomes


def _checkpointer() -> ocp.Checkpointer:
    # Each process of a run saves its own trainings at its own time: Orbax must not wait for the others.
    process = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=process, active_processes={process}, barrier_sync_key_prefix=f"process{process}"
    )
    arrays = ocp.PyTreeCheckpointHandler(
        use_compression=False,  # weights hardly shrink
        multiprocessing_options=alone,
        type_handler_registry=ocp.type_handlers.create_type_handler_registry(
            (np.ndarray, _EveryProcessWrites()), (jax.Array, ocp.type_handlers.ArrayHandler())
        ),
    )
    record = ocp.JsonCheckpointHandler(_RECORD_FILE, multiprocessing_options=alone)
    # Processes would take one another's signal that a folder has been made for their own.
    at_once = ocp.AsyncOptions(create_directories_asynchronously=False)
    options = ocp.CompositeOptions(multiprocessing_options=alone, async_options=at_once)
    both = ocp.CompositeCheckpointHandler(arrays=arrays, record=record, composite_options=options)
    return ocp.Checkpointer(both, multiprocessing_options=alone)


def _reason(error: Exception) -> str:
    """The one line that matters of what Orbax and tensorstore tell at length."""
    if "No space left on device" in str(error):
        return "no space left on the disk"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def save_checkpoint(path: Path, arrays: Any, record: dict) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: its folder; replaced where it exists.
        arrays: a tree of NumPy arrays, trainings stacked on axis 0.
        record: JSON of what belongs to them.

    Raises:
        RunError: it cannot be written, for want of space for example.
    """
    sealed: dict[str, Any] = {"record": record, "digests": digest_of_arrays(arrays)}
    sealed["seal"] = _digest_of_json(sealed)
    args = ocp.args.Composite(arrays=ocp.args.PyTreeSave(arrays), record=ocp.args.JsonSave(sealed))
    try:
        _make_sure_of_space(path, arrays)
        with _checkpointer() as checkpointer:
            checkpointer.save(path, args=args, force=True)
    except Exception as error:  # whatever Orbax or tensorstore raises where a disk is full or gone
        remove_partial(path.parent)  # which may be what fills the disk
        raise RunError(
            f"{path}: checkpoint cannot be written ({_reason(error)}); mend that and run the same command again: "
            f"it goes on from the checkpoint before"
        ) from error


def _make_sure_of_space(path: Path, arrays: Any) -> None:
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
    path.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(f"No space left on device for {needed / 1e9:.2f} GB")


def read_record(path: Path) -> tuple[dict, frozenset[str]]:
    """A checkpoint's record and the paths of its arrays, without reading these.

    Raises:
        RunError: damaged or unreadable.
    """
    try:
        # As Orbax's JsonCheckpointHandler writes it.
        return _unsealed(path, json.loads((path / "record" / _RECORD_FILE).read_bytes()))
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: checkpoint cannot be read ({_reason(error)})") from error


def _unsealed(path: Path, sealed: Any) -> tuple[dict, frozenset[str]]:
    try:
        content = {name: sealed[name] for name in ("record", "digests")}
        whole = sealed["seal"] == _digest_of_json(content)
    except (KeyError, TypeError):
        whole = False
    if not whole:
        raise RunError(f"{path}: checkpoint record is damaged (its digest does not match)")
    return content["record"], frozenset(content["digests"])


def restore_checkpoint(path: Path) -> tuple[Any, dict]:
    """A checkpoint's arrays (NumPy, nested dicts) and record.

    Raises:
        RunError: damaged or unreadable.
    """
    try:
        with _checkpointer() as checkpointer:
            read = checkpointer.restore(
                path, args=ocp.args.Composite(arrays=ocp.args.PyTreeRestore(), record=ocp.args.JsonRestore())
            )
        arrays, sealed = jax.tree.map(np.asarray, read["arrays"]), read["record"]
    except Exception as error:  # whatever Orbax, tensorstore or a JSON parser raises on a damaged file
        raise RunError(f"{path}: checkpoint cannot be read ({_reason(error)})") from error
    record, _ = _unsealed(path, sealed)
    found, expected = digest_of_arrays(arrays), sealed["digests"]
    if found != expected:
        wrong = sorted(k for k in found.keys() | expected if found.get(k) != expected.get(k))
        raise RunError(f"{path}: checkpoint is damaged: {wrong[0]} does not match its digest")
    return arrays, record


def remove_partial(folder: Path) -> None:
    """Removes what a process that was killed left half written."""
    for partial in folder.glob(PARTIAL):
        shutil.rmtree(partial, ignore_errors=True)
