"""One checkpoint with digests: what is damaged is noticed, and never used.

A checkpoint is a folder in Orbax's format:

    arrays/          an OCDBT store of tensorstore: an uncompressed zarr array for each leaf of the tree, whose name is
                     the leaf's path joined by dots; `_METADATA` tells Orbax the tree
    record/metadata  JSON: "record", "digests" (SHA-256 of each array), "empty" (paths of dicts without arrays, which
                     an optimizer's state has), "seal" (SHA-256 of the others)

It is written with tensorstore itself: Orbax takes NumPy arrays for copies of the same on every process and writes those
of the first process alone, while each process of a run saves its own trainings at its own time. Orbax opens `arrays/`
(`PyTreeCheckpointer`), and a folder that Orbax has written is opened here.

Neither Orbax nor tensorstore notices flipped bits: of 25, Orbax restored 23 without a word. Digests do.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import tensorstore

from afnet_jax.atomic_files import write_atomically
from afnet_jax.errors import RunError
from afnet_jax.sha256 import digest_of

PARTIAL = "*.orbax-checkpoint-tmp*"
_RECORD = Path("record", "metadata")
_DICT_KEY, _EMPTY_DICT = 2, "Dict"  # Orbax's words for them


def digest_of_arrays(tree: Any) -> dict[str, str]:
    """Path of each array in a tree -> SHA-256 of its dtype, shape and bytes."""
    return {path: _digest(array) for path, array in _leaves(tree).items()}


def _leaves(tree: Any) -> dict[str, np.ndarray]:
    """Path of each array in a tree, its keys joined by slashes -> the array."""
    return {_joined(path): np.asarray(leaf) for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _empty_dicts(tree: Any) -> list[str]:
    nodes = jax.tree_util.tree_leaves_with_path(tree, is_leaf=lambda node: type(node) is dict and not node)
    return [_joined(path) for path, node in nodes if type(node) is dict]


def _joined(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _digest(array: np.ndarray) -> str:
    return digest_of(f"{array.dtype.str}{array.shape}", array)


def _digest_of_json(value: Any) -> str:
    return digest_of(json.dumps(value, sort_keys=True))


def _reason(error: Exception) -> str:
    """The one line that matters of what tensorstore tells at length."""
    if "No space left on device" in str(error):
        return "no space left on the disk"
    return str(error).splitlines()[0][:200] if str(error) else type(error).__name__


def save_checkpoint(path: Path, arrays: Any, record: dict) -> None:
    """Writes a checkpoint, whole or not at all.

    Args:
        path: its folder; replaced where it exists.
        arrays: nested dicts of NumPy arrays, trainings stacked on axis 0. Nobody may alter them meanwhile.
        record: JSON of what belongs to them.

    Raises:
        RunError: it cannot be written, for want of space for example.
    """
    empty = _empty_dicts(arrays)
    sealed: dict[str, Any] = {"record": record, "digests": digest_of_arrays(arrays), "empty": empty}
    sealed["seal"] = _digest_of_json(sealed)
    partial = path.with_name(f"{path.name}.orbax-checkpoint-tmp")
    try:
        _make_sure_of_space(path, arrays)
        shutil.rmtree(partial, ignore_errors=True)
        (partial / _RECORD).parent.mkdir(parents=True)
        _write_arrays(partial / "arrays", _leaves(arrays), empty)
        write_atomically(partial / _RECORD, json.dumps(sealed))
        shutil.rmtree(path, ignore_errors=True)
        partial.rename(path)
    except Exception as error:  # whatever tensorstore raises where a disk is full or gone
        shutil.rmtree(partial, ignore_errors=True)  # which may be what fills the disk
        raise RunError(
            f"{path}: checkpoint cannot be written ({_reason(error)}); fix this and run the same command again: "
            f"it goes on from the checkpoint before"
        ) from error


def _make_sure_of_space(path: Path, arrays: Any) -> None:
    needed = sum(leaf.nbytes for leaf in jax.tree.leaves(arrays))
    path.parent.mkdir(parents=True, exist_ok=True)
    if shutil.disk_usage(path.parent).free < needed:
        raise OSError(f"No space left on device for {needed / 1e9:.2f} GB")


def _spec(folder: Path, leaf: str) -> dict:
    """Tells tensorstore where an array lies."""
    base = {"driver": "file", "path": f"{folder.absolute()}/"}
    return {"driver": "zarr", "kvstore": {"driver": "ocdbt", "base": base, "path": f"{leaf.replace('/', '.')}/"}}


def _write_arrays(folder: Path, arrays: dict[str, np.ndarray], empty: list[str]) -> None:
    context = tensorstore.Context()

    def created(leaf: str, array: np.ndarray) -> tensorstore.Future[tensorstore.TensorStore]:
        spec = _spec(folder, leaf) | {
            "store_data_equal_to_fill_value": True
        }  # -0.0 is equal to 0.0, and is not the same
        spec["metadata"] = {"compressor": None, "chunks": array.shape}  # weights hardly shrink
        return tensorstore.open(
            spec, create=True, dtype=array.dtype, shape=array.shape, context=context, transaction=transaction
        )

    with tensorstore.Transaction() as transaction:  # all arrays are committed at once, to a single file
        stores = {leaf: created(leaf, array) for leaf, array in arrays.items()}
        for leaf, array in arrays.items():
            stores[leaf].result().write(array, can_reference_source_data_indefinitely=True).copy.result()
    kinds = dict.fromkeys(arrays, "np.ndarray") | dict.fromkeys(empty, _EMPTY_DICT)
    tree = {str(tuple(path.split("/"))): _tree_metadata(path, kind) for path, kind in kinds.items()}
    flags = {"use_ocdbt": True, "use_zarr3": False, "store_array_data_equal_to_fill_value": True}
    write_atomically(folder / "_METADATA", json.dumps({"tree_metadata": tree, **flags}))


def _tree_metadata(path: str, kind: str) -> dict:
    return {
        "key_metadata": [{"key": key, "key_type": _DICT_KEY} for key in path.split("/")],
        "value_metadata": {"value_type": kind, "skip_deserialize": kind == _EMPTY_DICT},
    }


def read_record(path: Path) -> tuple[dict, frozenset[str]]:
    """A checkpoint's record and the paths of its arrays, without reading these.

    Raises:
        RunError: damaged or unreadable.
    """
    sealed = _read_sealed(path)
    return sealed["record"], frozenset(sealed["digests"])


def _read_sealed(path: Path) -> dict:
    """Content of record/metadata, whose seal is right."""
    try:
        sealed = json.loads((path / _RECORD).read_bytes())
    except (OSError, ValueError) as error:
        raise RunError(f"{path}: checkpoint cannot be read ({_reason(error)})") from error
    try:
        whole = sealed.pop("seal") == _digest_of_json(sealed) and sealed.keys() >= {"record", "digests"}
    except (AttributeError, KeyError, TypeError):
        whole = False
    if not whole:
        raise RunError(f"{path}: checkpoint record is damaged (its digest does not match)")
    return sealed


def restore_checkpoint(path: Path) -> tuple[dict, dict]:
    """A checkpoint's arrays (NumPy, nested dicts) and record.

    Raises:
        RunError: damaged or unreadable.
    """
    sealed = _read_sealed(path)
    digests = sealed["digests"]
    try:
        arrays = _read_arrays(path / "arrays", digests)
        empty = sealed["empty"] if "empty" in sealed else _empty_dicts_by_orbax(path / "arrays")
    except Exception as error:  # whatever tensorstore raises for a damaged file
        raise RunError(f"{path}: checkpoint cannot be read ({_reason(error)})") from error
    for leaf, array in arrays.items():
        if _digest(array) != digests[leaf]:
            raise RunError(f"{path}: checkpoint is damaged: {leaf} does not match its digest")
    return _nested({**arrays, **{leaf: {} for leaf in empty}}), sealed["record"]


def _read_arrays(folder: Path, leaves: Iterable[str]) -> dict[str, np.ndarray]:
    context = tensorstore.Context()
    stores = {leaf: tensorstore.open(_spec(folder, leaf), open=True, context=context) for leaf in leaves}
    reads = {leaf: store.result().read() for leaf, store in stores.items()}
    return {leaf: read.result() for leaf, read in reads.items()}


def _empty_dicts_by_orbax(folder: Path) -> list[str]:
    """Paths of the dicts without arrays where Orbax itself has written them, before they were sealed."""
    entries = json.loads((folder / "_METADATA").read_bytes())["tree_metadata"].values()
    return [
        "/".join(key["key"] for key in entry["key_metadata"])
        for entry in entries
        if entry["value_metadata"]["value_type"] == _EMPTY_DICT
    ]


def _nested(leaves: dict[str, Any]) -> dict:
    tree: dict = {}
    for path, leaf in leaves.items():
        *parents, name = path.split("/")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = leaf
    return tree


def remove_partial(folder: Path) -> None:
    """Removes what a process that was killed left half written."""
    for partial in folder.glob(PARTIAL):
        shutil.rmtree(partial, ignore_errors=True)
