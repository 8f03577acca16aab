"""A prepared data set, whole, as arrays of the size that the network takes."""

from __future__ import annotations

import dataclasses
import functools
import json
import sys
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from afnet_jax.datasets import digests
from afnet_jax.datasets.builder import read_records
from afnet_jax.datasets.records import being_prepared, dataset_folder, lock_file, points_of, prepared_names
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.errors import DatasetError
from afnet_jax.file_lock import read_lock
from afnet_jax.maps import INPUT_MAPS, Clouds, Faces, Maps, maps_of
from afnet_jax.paths import user_path
from afnet_jax.points.clouds import cloud_of, stack_clouds
from afnet_jax.points.rendering import render_all
from afnet_jax.scans.databases import DATABASES, is_synthetic
from afnet_jax.sha256 import digest_of


@dataclasses.dataclass(frozen=True)
class FaceDataset:
    """A data set in memory, in the order of scan ids.

    Attributes:
        maps: the network's inputs; with clouds, as they are rendered of these, unchanged by augmentation.
        labels: (N,) int32, index into EXPRESSIONS.
        scan_ids: (N,) str.
        subjects: (N,) str.
        levels: (N,) int64, 0 where the database has none.
        landmarks: (N, 22, 3) float64 canonical mm in the order of LANDMARKS, NaN where a scan has none of that name;
            no network sees them. None where the data set is not one of records.
        landmarks_found: (N,) bool, whether a scan's landmarks were found on its surface rather than given by a file.
        clouds: raw points, where the network's inputs are rendered from them; None where they are maps.
    """

    maps: Maps
    labels: np.ndarray
    scan_ids: np.ndarray
    subjects: np.ndarray
    levels: np.ndarray
    landmarks: np.ndarray | None = None
    landmarks_found: np.ndarray | None = None
    clouds: Clouds | None = None

    @property
    def faces(self) -> Faces:
        """The maps, or the clouds of points, and the labels that a network learns from."""
        return Faces(self._inputs, self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the whole data set: runs with the same digest learned from the same bytes."""
        return digest_of(
            *(each for each in self._inputs if each is not None), self.labels, self.scan_ids, self.subjects
        )

    @property
    def _inputs(self) -> Maps | Clouds:
        return self.maps if self.clouds is None else self.clouds


def load(dataset: ConfigDict, modalities: Collection[str] = ()) -> FaceDataset:
    """Loads the data set that config.dataset names; the synthetic one is made and prepared where it is not there yet.

    Args:
        dataset: config.dataset.
        modalities: config.model.modalities; what a record holds is loaded in any case.

    Raises:
        DatasetError: not prepared, damaged, or without a scan of the levels asked for.
    """
    data_dir = user_path(dataset.data_dir)
    if is_synthetic(dataset.name) and dataset.synthetic_variety == "wide":
        return _varied(data_dir, dataset, modalities)
    if is_synthetic(dataset.name):
        from afnet_jax.datasets.synthetic_default import prepare_synthetic  # only this data set needs them

        people = dataset.synthetic_subjects, dataset.synthetic_seed
        data_dir = prepare_synthetic(data_dir, *people, points=dataset.input == "points")
    folder = dataset_folder(data_dir, dataset.name)
    levels: Counter[int] = Counter()
    records = []
    with read_lock(lock_file(data_dir, dataset.name), being_prepared(data_dir, dataset.name)):
        if not folder.is_dir():
            raise DatasetError(_how_to_prepare(data_dir, dataset.name))
        digests.verify(folder)
        for record in read_records(folder):
            levels[int(record["level"])] += 1
            if record["level"] in (0, *dataset.levels):
                records.append(_kept(record) | _inputs(record, dataset, modalities, folder))
    _say_what_is_absent(folder, levels, tuple(dataset.levels))
    records.sort(key=lambda record: record["scan_id"])
    maps, clouds = ([record.pop(name, None) for record in records] for name in ("maps", "cloud"))
    stacked = None if clouds[0] is None else stack_clouds(clouds)
    columns = {name: np.stack([record[name] for record in records]) for name in records[0]}
    return FaceDataset(
        maps=stack(maps) if stacked is None else render_all(stacked, dataset.image_size, modalities),
        labels=columns["label"],
        scan_ids=columns["scan_id"],
        subjects=columns["subject"],
        levels=columns["level"],
        landmarks=columns["landmarks"],
        landmarks_found=columns["landmarks_found"],
        clouds=stacked,
    )


def _varied(data_dir: Path, dataset: ConfigDict, modalities: Collection[str]) -> FaceDataset:
    from afnet_jax.datasets import varied_set  # only this data set needs it

    if computed := maps_of(modalities).keys() - maps_of(()).keys():
        raise DatasetError(
            f"dataset.synthetic_variety='wide' has no {', '.join(sorted(computed))}: "
            f"set --config.model.modalities to texture, depth or both"
        )
    folder = varied_set.prepare_varied(data_dir, dataset.synthetic_subjects, dataset.synthetic_seed, dataset.image_size)
    columns = varied_set.load_varied(folder)
    return FaceDataset(
        maps=Maps(**{name: columns[name] for name in maps_of(())}),
        labels=columns["label"],
        scan_ids=columns["scan_id"],
        subjects=columns["subject"],
        levels=columns["level"],
    )


def _how_to_prepare(data_dir: Path, name: str) -> str:
    there = ", ".join(prepared_names(data_dir))
    found = f"no prepared data set here{f' ({data_dir} holds {there})' if there else ''}"
    reader = "" if name in DATABASES else " --reader=FILE"
    return (
        f"{dataset_folder(data_dir, name)}: {found}; make it with: afnet prepare "
        f"--database={name}{reader} --raw=FOLDER_OF_RAW_SCANS --data_dir={data_dir}"
    )


def _say_what_is_absent(folder: Path, levels: Counter[int], wanted: tuple[int, ...]) -> None:
    """Warns of requested levels that the data set lacks; a data set without levels lacks none.

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


def _kept(record: dict) -> dict[str, Any]:
    return {
        "label": np.int32(record["label"]),
        "level": np.int64(record["level"]),
        "scan_id": np.str_(record["scan_id"].decode()),
        "subject": np.str_(record["subject"].decode()),
        "landmarks": np.asarray(record["landmarks"], np.float64),
        "landmarks_found": np.bool_(json.loads(record["quality"].decode()).get("landmarks") == "found"),
    }


def _inputs(record: dict, dataset: ConfigDict, modalities: Collection[str], folder: Path) -> dict[str, Maps | Clouds]:
    """What the network's inputs are made of: a scan's maps at their size, or its cloud of points."""
    if dataset.input == "maps":
        drawn = {name: record[each.record] for name, each in INPUT_MAPS.items() if each.record}
        return {"maps": reduce_maps(drawn, float(record["mm_per_pixel"]), dataset.image_size, modalities)}
    if "points" not in record or np.isnan(record["points"]).all():
        raise DatasetError(
            f"{folder}: holds no raw points (config.dataset.input is 'points'), as an earlier version of this program "
            f"prepared it; prepare its raw scans again with tools/prepare_dataset.py, or take "
            f"--config.dataset.input=maps"
        )
    return {"cloud": cloud_of(points_of(record), record["to_scan"], record["landmarks"])}
