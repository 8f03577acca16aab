"""A prepared data set as arrays of the size that the network takes, in memory or mapped from files."""

from __future__ import annotations

import dataclasses
import functools
import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from afnet_jax.datasets import digests, map_files, reduction
from afnet_jax.datasets.builder import open_records, quiet_decoding, read_records
from afnet_jax.datasets.code_digest import code_digest
from afnet_jax.datasets.reading_ahead import read_ahead
from afnet_jax.datasets.records import being_prepared, dataset_folder, lock_file, points_of, prepared_names
from afnet_jax.datasets.reduction import reduce_maps, stack
from afnet_jax.errors import DatasetError
from afnet_jax.file_lock import read_lock, write_lock
from afnet_jax.machine import usable_cores
from afnet_jax.maps import INPUT_MAPS, Clouds, Faces, Maps, maps_of
from afnet_jax.paths import user_path
from afnet_jax.points.clouds import cloud_of, stack_clouds
from afnet_jax.points.rendering import render_all
from afnet_jax.scans.databases import DATABASES, is_synthetic
from afnet_jax.sha256 import digest_of, digest_of_file


@dataclasses.dataclass(frozen=True)
class FaceDataset:
    """A data set, in the order of scan ids.

    Attributes:
        maps: the network's inputs; in memory, or mapped into it from files. With clouds, as they are rendered of these,
            unchanged by augmentation.
        labels: (N,) int32, index into EXPRESSIONS.
        scan_ids: (N,) str.
        subjects: (N,) str.
        levels: (N,) int64, 0 where the database has none.
        landmarks: (N, 22, 3) float64 canonical mm in the order of LANDMARKS, NaN where a scan has none of that name;
            a network sees their masks alone. None where the data set is not one of records.
        landmarks_found: (N,) bool, whether a scan's landmarks were found on its surface rather than given by a file.
        streamed: whether the maps are too large for the device, or for memory, and are read as they are needed.
        clouds: raw points, where the network's inputs are rendered from them; None where they are maps.
    """

    maps: Maps
    labels: np.ndarray
    scan_ids: np.ndarray
    subjects: np.ndarray
    levels: np.ndarray
    landmarks: np.ndarray | None = None
    landmarks_found: np.ndarray | None = None
    streamed: bool = False
    clouds: Clouds | None = None

    @property
    def faces(self) -> Faces:
        """The maps, or the clouds of points, and the labels that a network learns from."""
        return Faces(self._inputs, self.labels)

    @functools.cached_property
    def digest(self) -> str:
        """SHA-256 of the whole data set: runs with the same digest learned from the same bytes."""
        inputs = (each for each in self._inputs if each is not None)
        return digest_of(*inputs, self.labels, self.scan_ids, self.subjects)

    @property
    def _inputs(self) -> Maps | Clouds:
        return self.maps if self.clouds is None else self.clouds


def load(dataset: ConfigDict, modalities: Collection[str] = (), *, room: float = math.inf) -> FaceDataset:
    """Loads the data set that config.dataset names; the synthetic one is made and prepared where it is not there yet.

    Args:
        dataset: config.dataset.
        modalities: config.model.modalities; what a record holds is loaded in any case.
        room: bytes of maps from which on they are streamed, where dataset.placement is "auto".

    Raises:
        DatasetError: not prepared, damaged, or without a scan of the levels asked for.
    """
    data_dir = user_path(dataset.data_dir)
    if is_synthetic(dataset.name) and dataset.synthetic_variety == "wide":
        return _varied(data_dir, dataset, modalities, room)
    if is_synthetic(dataset.name):
        from afnet_jax.datasets.synthetic_default import prepare_synthetic  # only this data set needs them

        people = dataset.synthetic_subjects, dataset.synthetic_seed
        data_dir = prepare_synthetic(data_dir, *people, points=dataset.input == "points")
    folder = dataset_folder(data_dir, dataset.name)
    with read_lock(lock_file(data_dir, dataset.name), being_prepared(data_dir, dataset.name)):
        if not folder.is_dir():
            raise DatasetError(_how_to_prepare(data_dir, dataset.name))
        if dataset.placement != "stream":
            digests.verify(folder)
        streamed = _is_streamed(folder, dataset, modalities, room)
        inputs, columns = (_in_files if streamed else _in_memory)(folder, dataset, modalities)
    return FaceDataset(
        maps=render_all(inputs, dataset.image_size, modalities) if isinstance(inputs, Clouds) else inputs,
        labels=columns["label"],
        scan_ids=columns["scan_id"],
        subjects=columns["subject"],
        levels=columns["level"],
        landmarks=columns["landmarks"],
        landmarks_found=columns["landmarks_found"],
        streamed=streamed,
        clouds=inputs if isinstance(inputs, Clouds) else None,
    )


def _is_streamed(folder: Path, dataset: ConfigDict, modalities: Collection[str], room: float) -> bool:
    if dataset.placement != "auto" or room == math.inf or dataset.input == "points":
        return dataset.placement == "stream"
    return len(open_records(folder)) * map_files.scan_bytes(dataset.image_size, modalities) > room


def _in_memory(
    folder: Path, dataset: ConfigDict, modalities: Collection[str]
) -> tuple[Maps | Clouds, dict[str, np.ndarray]]:
    levels: Counter[int] = Counter()
    records = []
    for record in read_records(folder):
        levels[int(record["level"])] += 1
        if record["level"] in (0, *dataset.levels):
            if dataset.input == "points":
                records.append(_labels_and_landmarks(record) | {"cloud": _cloud(record, folder)})
            else:
                records.append(_reduced(record, dataset.image_size, modalities))
    _say_what_is_absent(folder, levels, tuple(dataset.levels))
    records.sort(key=lambda record: record["scan_id"])
    inputs: Maps | Clouds
    if dataset.input == "points":
        inputs = stack_clouds([record.pop("cloud") for record in records])
    else:
        inputs = stack([record.pop("maps") for record in records])
    return inputs, {name: np.stack([record[name] for record in records]) for name in records[0]}


def _in_files(folder: Path, dataset: ConfigDict, modalities: Collection[str]) -> tuple[Maps, dict[str, np.ndarray]]:
    """The same maps and columns, the maps from files that are written where they are not there yet."""
    digests.read_source(folder)  # refused where it is missing or damaged
    source = digest_of_file(folder / digests.FILE_NAME)
    code = code_digest([Path(reduction.__file__)])
    wanted = f"{folder.name} {dataset.image_size} {sorted(dataset.levels)} {sorted(maps_of(modalities))} {code}"
    place = folder.parents[1] / ".maps" / dataset.name / f"{source[:16]}-{digest_of(wanted)[:16]}"
    with write_lock(place.parent.with_suffix(".lock"), f"{place}: maps to stream are being written"):
        if not map_files.are_written(place):
            _write_maps(place, folder, dataset, modalities, source)
            for other in place.parent.iterdir():
                if other.is_dir() and not other.name.startswith(source[:16]):  # of the data set as it was before
                    shutil.rmtree(other)
    maps, columns = map_files.open_maps(place)
    _say_what_is_absent(folder, Counter(dict(columns["held"].tolist())), tuple(dataset.levels))
    return maps, columns


def _write_maps(place: Path, folder: Path, dataset: ConfigDict, modalities: Collection[str], source: str) -> None:
    digests.verify(folder)
    with quiet_decoding():
        named = [(int(each["level"]), each["scan_id"].decode()) for each in open_records(folder, ("level", "scan_id"))]
        held = Counter(level for level, _ in named)
        _say_what_is_absent(folder, held, tuple(dataset.levels))
        chosen = [index for index, (level, _) in enumerate(named) if level in (0, *dataset.levels)]
        chosen.sort(key=lambda index: named[index][1])
        faces = _ReducedRecords(
            open_records(folder), chosen, lambda record: _reduced(record, dataset.image_size, modalities)
        )
        cores = usable_cores()
        rows = read_ahead(faces, threads=cores, ahead=8 * cores)
        map_files.write_maps(place, rows, len(faces), {"held": np.array(sorted(held.items()))}, source)


@dataclasses.dataclass(frozen=True)
class _ReducedRecords:
    """Some of a data set's records in another order, reduced as they are asked for."""

    records: Sequence[dict]
    chosen: Sequence[int]
    reduce: Callable[[dict], dict]

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> dict:
        return self.reduce(self.records[self.chosen[index]])


def _varied(data_dir: Path, dataset: ConfigDict, modalities: Collection[str], room: float) -> FaceDataset:
    from afnet_jax.datasets import varied_set  # only this data set needs it

    if computed := maps_of(modalities).keys() - maps_of(()).keys():
        raise DatasetError(
            f"dataset.synthetic_variety='wide' has no {', '.join(sorted(computed))}: "
            f"set --config.model.modalities to texture, depth or both"
        )
    folder = varied_set.prepare_varied(data_dir, dataset.synthetic_subjects, dataset.synthetic_seed, dataset.image_size)
    columns = varied_set.load_varied(folder)
    large = len(columns["label"]) * map_files.scan_bytes(dataset.image_size, modalities) > room
    return FaceDataset(
        maps=Maps(**{name: columns[name] for name in maps_of(())}),
        labels=columns["label"],
        scan_ids=columns["scan_id"],
        subjects=columns["subject"],
        levels=columns["level"],
        streamed=dataset.placement == "stream" or (dataset.placement == "auto" and large),  # from memory
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


def _reduced(record: dict, size: int, modalities: Collection[str]) -> dict[str, Any]:
    drawn = {name: record[each.record] for name, each in INPUT_MAPS.items() if each.record}
    return {"maps": reduce_maps(drawn, float(record["mm_per_pixel"]), size, modalities)} | _labels_and_landmarks(record)


def _cloud(record: dict, folder: Path) -> Clouds:
    if "points" not in record or np.isnan(record["points"]).all():
        raise DatasetError(
            f"{folder}: holds no raw points (config.dataset.input is 'points'), as an earlier version of this program "
            f"prepared it; prepare its raw scans again with afnet prepare, or take --config.dataset.input=maps"
        )
    return cloud_of(points_of(record), record["to_scan"], record["landmarks"])


def _labels_and_landmarks(record: dict) -> dict[str, Any]:
    return {
        "label": np.int32(record["label"]),
        "level": np.int64(record["level"]),
        "scan_id": np.str_(record["scan_id"].decode()),
        "subject": np.str_(record["subject"].decode()),
        "landmarks": np.asarray(record["landmarks"], np.float64),
        "landmarks_found": np.bool_(json.loads(record["quality"].decode()).get("landmarks") == "found"),
    }
