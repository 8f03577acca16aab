"""A prepared data set, whole, as arrays of the size that the network takes."""

from __future__ import annotations

import dataclasses
import functools
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from ml_collections import ConfigDict
from PIL import Image

from afnet_jax.datasets import digests
from afnet_jax.datasets.builder import read_records
from afnet_jax.datasets.records import VERSION, being_prepared, lock_file
from afnet_jax.errors import DatasetError
from afnet_jax.file_lock import read_lock
from afnet_jax.paths import user_path
from afnet_jax.sha256 import digest_of


class Maps(NamedTuple):
    """The network's inputs and targets for N scans; S is the images' edge.

    Attributes:
        texture: (N, S, S, 3) uint8 RGB.
        depth: (N, S, S, 1) float16, mm in the canonical frame, NaN outside the face.
        mask56: (N, S/4, S/4, 1) float16 in [0, 1].
        mask28: (N, S/8, S/8, 1) float16 in [0, 1].
        labels: (N,) int32, index into EXPRESSIONS.
    """

    texture: np.ndarray
    depth: np.ndarray
    mask56: np.ndarray
    mask28: np.ndarray
    labels: np.ndarray


@dataclasses.dataclass(frozen=True)
class FaceDataset:
    """A data set in memory, in the order of scan ids.

    Attributes:
        arrays: inputs and targets.
        scan_ids: (N,) str.
        subjects: (N,) str.
        levels: (N,) int64, 0 where the database has none.
    """

    arrays: Maps
    scan_ids: np.ndarray
    subjects: np.ndarray
    levels: np.ndarray

    @property
    def labels(self) -> np.ndarray:
        """(N,) int32."""
        return self.arrays.labels

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of all of it: two runs with the same digest learned from the same bytes."""
        return digest_of(*self.arrays, self.scan_ids, self.subjects)


def load(dataset: ConfigDict) -> FaceDataset:
    """The data set that config.dataset names; the synthetic one is made and prepared where it is not there yet.

    Raises:
        DatasetError: not prepared, damaged, or without a scan of the levels asked for.
    """
    data_dir = user_path(dataset.data_dir)
    if dataset.name == "synthetic":
        from afnet_jax.datasets.synthetic_default import prepare_synthetic  # nobody else needs made-up people

        data_dir = prepare_synthetic(data_dir, dataset.synthetic_subjects, dataset.synthetic_seed)
    folder = data_dir / dataset.name / VERSION
    levels: Counter[int] = Counter()
    records = []
    with read_lock(lock_file(data_dir, dataset.name), being_prepared(data_dir, dataset.name)):
        if not folder.is_dir():
            raise DatasetError(
                f"{folder}: no prepared data set here; make it with: python tools/prepare_dataset.py "
                f"--database={dataset.name} --raw=FOLDER_OF_RAW_SCANS --data_dir={data_dir}"
            )
        digests.verify(folder)
        for record in read_records(folder):
            levels[int(record["level"])] += 1
            if record["level"] in (0, *dataset.levels):
                records.append(_reduced(record, dataset.image_size))
    _say_what_is_absent(folder, levels, tuple(dataset.levels))
    records.sort(key=lambda record: record["scan_id"])
    columns = {name: np.stack([record[name] for record in records]) for name in records[0]}
    return FaceDataset(
        arrays=Maps(*(columns[name] for name in ("texture", "depth", "mask56", "mask28", "label"))),
        scan_ids=columns["scan_id"],
        subjects=columns["subject"],
        levels=columns["level"],
    )


def _say_what_is_absent(folder: Path, levels: Counter[int], wanted: tuple[int, ...]) -> None:
    """Warns of levels that are wanted and not there; of a data set without levels none is missing.

    Args:
        folder: the data set.
        levels: level -> how many scans the data set holds; 0 for those without a level.
        wanted: config.dataset.levels.

    Raises:
        DatasetError: no scan is left.
    """
    there = sorted(set(levels) - {0})
    held = ", ".join(f"{level} ({levels[level]} scans)" for level in there)
    choose = f"choose with --config.dataset.levels={','.join(map(str, there))}{',' if len(there) == 1 else ''}"
    absent = ", ".join(map(str, sorted(set(wanted) - set(there))))
    if not any(levels[level] for level in (0, *wanted)):
        raise DatasetError(f"{folder}: holds no scan of the levels {wanted}, but {held or 'none at all'}; {choose}")
    if there and absent:
        print(
            f"warning: {folder}: holds no scan of level {absent} (config.dataset.levels), but {held}; {choose}, "
            "or prepare the raw scans again, which takes all levels",
            file=sys.stderr,
        )


def _reduced(record: dict, size: int) -> dict[str, np.ndarray]:
    return {
        **reduce_maps(record["texture"], record["depth"], {56: record["mask56"], 28: record["mask28"]}, size),
        "label": np.int32(record["label"]),
        "level": np.int64(record["level"]),
        "scan_id": np.str_(record["scan_id"].decode()),
        "subject": np.str_(record["subject"].decode()),
    }


def reduce_maps(texture: np.ndarray, depth: np.ndarray, masks: Mapping[int, np.ndarray], size: int) -> dict:
    """Maps of one face at the network's size and types, by the mean over each new pixel's area.

    Args:
        texture: (224, 224, 3) uint8.
        depth: (224, 224) float32, mm, NaN outside the face.
        masks: {56: (56, 56), 28: (28, 28)} float32.
        size: edge of the images, pixels.

    Returns:
        {"texture": (S, S, 3) uint8, "depth": (S, S, 1) float16, "mask56": (S/4, S/4, 1) float16, "mask28": (S/8, …)}.
        A pixel of depth is the mean of the face within it, and face where at least half of it is.
    """
    if size != texture.shape[0]:
        texture = np.asarray(Image.fromarray(texture).resize((size, size), Image.Resampling.BOX))
        share = _area_mean(np.isfinite(depth), size)
        depth = np.where(share >= 0.5, _area_mean(np.nan_to_num(depth), size) / np.maximum(share, 0.5), np.nan)
    return {
        "texture": texture,
        "depth": depth.astype(np.float16)[..., None],
        "mask56": _area_mean(masks[56], size // 4).astype(np.float16)[..., None],
        "mask28": _area_mean(masks[28], size // 8).astype(np.float16)[..., None],
    }


def _area_mean(image: np.ndarray, size: int) -> np.ndarray:
    image = np.asarray(image, np.float32)
    if image.shape[0] == size:
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BOX))
