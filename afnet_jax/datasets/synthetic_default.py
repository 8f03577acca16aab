"""The embedded default data set: made-up people, made and prepared on first use."""

from __future__ import annotations

from pathlib import Path

from afnet_jax.datasets.preparation import prepare
from afnet_jax.datasets.records import VERSION
from afnet_jax.scans.synthetic import write_people


def prepare_synthetic(data_dir: Path, subjects: int, seed: int) -> Path:
    """Makes the synthetic data set where it is not there yet.

    Args:
        data_dir: where data sets lie.
        subjects: how many people.
        seed: who they are.

    Returns:
        The folder to give as data_dir: each choice of people has its own.
    """
    folder = data_dir / f"synthetic-{subjects}-people-seed-{seed}"
    if not (folder / "synthetic" / VERSION / "digests.json").exists():
        write_people(folder / "raw", database="bu3dfe", subjects=subjects, seed=seed)
        prepare("synthetic", folder / "raw", folder)
    return folder
