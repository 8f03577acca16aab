"""The maps of a data set at the network's size, in files beside it: for sets that are larger than memory.

A record holds images of 224 pixels, compressed: decoding and reducing one takes longer than a small network learns from
it. So they are reduced once, into one .npy for each map, rows in the order of scan ids, which a training then maps into
its memory and reads row by row.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from afnet_jax.atomic_files import read_arrays
from afnet_jax.datasets import digests
from afnet_jax.errors import DatasetError
from afnet_jax.maps import INPUT_MAPS, Maps, maps_of

_COLUMNS = "columns.npz"


def scan_bytes(size: int, modalities: Collection[str]) -> int:
    """Returns the bytes that a scan's maps take in memory, or in these files.

    Args:
        size: edge of the images, pixels.
        modalities: config.model.modalities.
    """
    return sum(math.prod(each.shape(size)) * np.dtype(each.dtype).itemsize for each in maps_of(modalities).values())


def are_written(place: Path) -> bool:
    """Returns whether a folder holds the files whole and undamaged, by their digests."""
    try:
        digests.verify(place)
    except DatasetError:
        return False
    return True


def write_maps(
    place: Path, faces: Iterable[Mapping[str, Any]], count: int, further: Mapping[str, np.ndarray], source: str
) -> None:
    """Writes the files of a data set aside and moves them into place.

    Args:
        place: their folder.
        faces: a mapping for each scan: "maps", and values of its own by name.
        count: how many scans.
        further: arrays to keep with the columns of those values.
        source: digest of the data set that they are made from.

    Raises:
        DatasetError: they cannot be written.
    """
    aside = place.with_name(f"{place.name}.writing")
    shutil.rmtree(aside, ignore_errors=True)
    columns = defaultdict(list)
    try:
        aside.mkdir(parents=True)
        with contextlib.ExitStack() as stack:
            files: dict[str, IO[bytes]] = {}
            for face in tqdm(faces, total=count, desc="writing maps to stream", unit="scan"):
                for name, image in face["maps"]._asdict().items():
                    if image is None:
                        continue
                    if name not in files:
                        files[name] = stack.enter_context((aside / f"{name}.npy").open("wb"))
                        _write_header(files[name], image.dtype, (count, *image.shape))
                    # Not by a mapping, which on a full disk kills the process.
                    files[name].write(np.ascontiguousarray(image).data)
                for name in face.keys() - {"maps"}:
                    columns[name].append(face[name])
        np.savez(aside / _COLUMNS, **{name: np.stack(column) for name, column in columns.items()}, **further)  # type: ignore[arg-type]
        digests.write_digests(aside, source)
        shutil.rmtree(place, ignore_errors=True)
        os.replace(aside, place)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        raise DatasetError(
            f"{place}: the maps of {count} scans cannot be written ({error}); make room or give a folder that can be "
            "written (--config.dataset.data_dir), or load them all (--config.dataset.placement=memory)"
        ) from error


def _write_header(file: IO[bytes], dtype: np.dtype, shape: tuple[int, ...]) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_2_0(file, header)


def open_maps(place: Path) -> tuple[Maps, dict[str, np.ndarray]]:
    """Returns the maps, mapped into memory, and the columns and further arrays that were written with them."""
    paths = {name: place / f"{name}.npy" for name in INPUT_MAPS}
    maps = {name: np.load(path, mmap_mode="r") if path.exists() else None for name, path in paths.items()}
    return Maps(**maps), read_arrays(place / _COLUMNS)
