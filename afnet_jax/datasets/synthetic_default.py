"""The embedded default data set: synthetic subjects, made and prepared on first use."""

from __future__ import annotations

from pathlib import Path

from afnet_jax.datasets import digests
from afnet_jax.datasets.preparation import prepare
from afnet_jax.datasets.records import EARLIER, VERSION
from afnet_jax.file_lock import write_lock
from afnet_jax.synthetic import population

# Of the maps that preprocessing makes of a scan: whatever changes them raises it, so that no set of an older version is
# taken for one of this (tests/datasets/test_synthetic_default.py notices).
PREPARATION = 2


def prepare_synthetic(data_dir: Path, subjects: int, seed: int, points: bool = False) -> Path:
    """Makes the synthetic data set where it is not there yet; waits while another process makes it.

    Args:
        data_dir: where data sets lie.
        subjects: how many subjects.
        seed: who they are.
        points: whether raw points are asked for, which earlier versions do not hold.

    Returns:
        The folder to give as data_dir: each choice of subjects has its own, and so has each version of what makes
        their scans and maps.
    """
    version = f"v{population.GENERATION}.{PREPARATION}"
    folder = data_dir / f"synthetic-{subjects}-subjects-seed-{seed}-{version}"

    def is_made(*versions: str) -> bool:
        return any((folder / "synthetic" / each / digests.FILE_NAME).exists() for each in versions)

    wanted = (VERSION,) if points else (VERSION, *EARLIER)
    if not is_made(*wanted):
        with write_lock(data_dir / f".{folder.name}.lock", f"{folder}: the synthetic data set is being made"):
            if not is_made(*wanted):  # made by the process that was waited for
                if not is_made(*EARLIER):
                    population.write_people(folder / "raw", database="bu3dfe", subjects=subjects, seed=seed)
                prepare("synthetic", folder / "raw", folder)
    return folder
