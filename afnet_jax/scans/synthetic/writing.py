"""Made-up people written to disk as a database of raw scans, each with its truth beside it."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
from pathlib import Path

import numpy as np
from tqdm import tqdm

from afnet_jax.errors import DatasetError
from afnet_jax.scans import bosphorus, bu3dfe
from afnet_jax.scans.scan import EXPRESSION_CODES
from afnet_jax.scans.synthetic.people import make_scan

_RECIPE = "made_up.json"  # says with which arguments a folder was made


def write_people(
    folder: str | Path,
    *,
    database: str,
    subjects: int,
    seed: int,
    clean: bool = False,
    levels: tuple[int, ...] = (3, 4),
    workers: int | None = None,
) -> int:
    """Writes six expressions of each made-up person in a database's own raw formats, and NAME_truth.npz beside each.

    Scans that are there already are not made again, so an interrupted call can be repeated.

    Args:
        folder: where to; made if need be.
        database: "bu3dfe" or "bosphorus".
        subjects: how many people.
        seed: who they are.
        clean: without noise, spikes and holes.
        levels: intensities; Bosphorus has one, without a number.
        workers: processes; None for one per core.

    Returns:
        How many scans the folder holds.

    Raises:
        DatasetError: the folder holds scans made with other arguments.
    """
    folder = Path(folder)
    recipe = {"database": database, "seed": seed, "clean": clean}
    _claim(folder, recipe)
    shown = levels if database == "bu3dfe" else (None,)
    jobs = [(person, code, level) for person in range(1, subjects + 1) for code in EXPRESSION_CODES for level in shown]
    write = functools.partial(_write, folder, database, seed, clean)
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        done = pool.map(write, jobs, chunksize=len(shown) * len(EXPRESSION_CODES))
        for _ in tqdm(done, total=len(jobs), desc="making scans", unit="scan"):
            pass
    return len(jobs)


def _claim(folder: Path, recipe: dict) -> None:
    path = folder / _RECIPE
    if path.exists():
        found = json.loads(path.read_text())
        if found != recipe:
            raise DatasetError(f"{folder}: holds people made with {found}, asked for {recipe}; give another folder")
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise DatasetError(f"{folder}: is not empty and was not made by this tool; give another folder")
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(recipe) + "\n")


def _write(folder: Path, database: str, seed: int, clean: bool, job: tuple[int, str, int | None]) -> None:
    person, code, level = job
    scan, truth = make_scan(person, code, level, database=database, seed=seed, clean=clean)
    target = folder / scan.id.subject / f"{scan.id.name}{'_F3D' if database == 'bu3dfe' else ''}_truth.npz"
    if target.exists():
        return
    {"bu3dfe": bu3dfe, "bosphorus": bosphorus}[database].write_scan(scan, folder)
    partial = target.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez_compressed(file, **dataclasses.asdict(truth), expression=code, level=level or 4)
    partial.replace(target)
