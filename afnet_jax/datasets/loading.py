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
from afnet_jax.datasets.records import VERSION, being_prepared, lock_file, prepared_names
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.errors import DatasetError
from afnet_jax.file_lock import read_lock
from afnet_jax.maps import INPUT_MAPS, Faces, Maps, maps_of
from afnet_jax.paths import user_path
from afnet_jax.scans.databases import DATABASES, is_synthetic
from afnet_jax.sha256 import digest_of


@dataclasses.dataclass(frozen=True)
class FaceDataset:
    """A data set in memory, in the order of scan ids.

    Attributes:
        maps: the network's inputs.
        labels: (N,) int32, index into EXPRESSIONS.
        scan_ids: (N,) str.
        subjects: (N,) str.
        levels: (N,) int64, 0 where the database has none.
        landmarks: (N, 22, 3) float64 canonical mm in the order of LANDMARKS, NaN where a scan has none of that name;
            no network sees them. None where the data set is not one of records.
        landmarks_found: (N,) bool, whether a scan's landmarks were found on its surface rather than given by a file.
    """

    maps: Maps
    labels: np.ndarray
    scan_ids: np.ndarray
    subjects: np.ndarray
    levels: np.ndarray
    landmarks: np.ndarray | None = None
    landmarks_found: np.ndarray | None = None

    @property
    def faces(self) -> Faces:
        """The maps and labels that a network learns from."""
        return Faces(self.maps, self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the whole data set: runs with the same digest learned from the same bytes."""
        return digest_of(*(each for each in self.maps if each is not None), self.labels, self.scan_ids, self.subjects)


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

        data_dir = prepare_synthetic(data_dir, dataset.synthetic_subjects, dataset.synthetic_seed)
    folder = data_dir / dataset.name / VERSION
    levels: Counter[int] = Counter()
    records = []
    with read_lock(lock_file(data_dir, dataset.name), being_prepared(data_dir, dataset.name)):
        if not folder.is_dir():
            raise DatasetError(_how_to_prepare(data_dir, dataset.name))
        digests.verify(folder)
        for record in read_records(folder):
            levels[int(record["level"])] += 1
            if record["level"] in (0, *dataset.levels):
                records.append(_reduced(record, dataset.image_size, modalities))
    _say_what_is_absent(folder, levels, tuple(dataset.levels))
    records.sort(key=lambda record: record["scan_id"])
    maps = [record.pop("maps") for record in records]
    columns = {name: np.stack([record[name] for record in records]) for name in records[0]}
    return FaceDataset(
        maps=stack(maps),
        labels=columns["label"],
        scan_ids=columns["scan_id"],
        subjects=columns["subject"],
        levels=columns["level"],
        landmarks=columns["landmarks"],
        landmarks_found=columns["landmarks_found"],
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
        f"{data_dir / name / VERSION}: {found}; make it with: afnet prepare "
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


def _reduced(record: dict, size: int, modalities: Collection[str]) -> dict[str, Any]:
    drawn = {name: record[each.record] for name, each in INPUT_MAPS.items() if each.record}
    return {
        "maps": reduce_maps(drawn, float(record["mm_per_pixel"]), size, modalities),
        "label": np.int32(record["label"]),
        "level": np.int64(record["level"]),
        "scan_id": np.str_(record["scan_id"].decode()),
        "subject": np.str_(record["subject"].decode()),
        "landmarks": np.asarray(record["landmarks"], np.float64),
        "landmarks_found": np.bool_(json.loads(record["quality"].decode()).get("landmarks") == "found"),
    }
