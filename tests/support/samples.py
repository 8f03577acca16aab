"""Scans in the databases' own file formats, each with its truth beside it."""

import os
from pathlib import Path

from afnet_jax.scans import bosphorus, bu3dfe
from afnet_jax.synthetic import make_scan

_MADE = {  # folder -> database, clean, and (expression, level) of each scan of subject 0
    "bu3dfe": ("bu3dfe", False, [("SU", 4), ("HA", 3)]),
    "bu3dfe_clean": ("bu3dfe", True, [("HA", 4)]),
    "bosphorus": ("bosphorus", False, [("AN", None), ("HA", None), ("NE", None)]),
    "bosphorus_clean": ("bosphorus", True, [("SU", None), ("NE", None)]),
}


def samples_are_given() -> bool:
    """Whether AFNET_SAMPLES names scans that other software has written."""
    return "AFNET_SAMPLES" in os.environ


def provide_samples(folder: Path) -> Path:
    """Writes scans of a synthetic subject, unless AFNET_SAMPLES names a folder of others, written by other software.

    Either has the folders bu3dfe, bosphorus (as scanned), bu3dfe_clean and bosphorus_clean (no noise, spikes, holes).
    """
    if samples_are_given():
        return Path(os.environ["AFNET_SAMPLES"])
    for name, (database, clean, scans) in _MADE.items():
        writer = bu3dfe if database == "bu3dfe" else bosphorus
        for expression, level in scans:
            scan, truth = make_scan(0, expression, level, database=database, seed=0, clean=clean)
            path = writer.write_scan(scan, folder / name)
            truth.save(path.with_name(f"{path.stem}_truth.npz"))
    return folder
