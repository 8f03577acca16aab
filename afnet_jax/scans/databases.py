"""The databases: one entry each, from which everything else takes their names.

To add one, write a module with SUFFIXES, scan_id and read_scan beside `bosphorus.py`, enter it here, and write a file
in configs/ with the command that trains on it.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from afnet_jax.errors import DatasetError
from afnet_jax.paths import user_path
from afnet_jax.scans import bosphorus, bu3dfe, meshes
from afnet_jax.scans.database import Database, OwnReader
from afnet_jax.scans.naming import NamingRule
from afnet_jax.scans.scan import Scan, ScanError

BU3DFE = Database(
    name="bu3dfe",
    title="BU-3DFE",
    reader=bu3dfe,
    scans="a BU-3DFE mesh (…_F3D.wrl)",
    description="BU-3DFE: six expressions at levels 1 to 4, 24 scans of each of 100 subjects.",
    settings={"dataset.levels": (3, 4), "model.pretrained": "imagenet"},
    paper={
        "Tang 2008": 74.51, "Gong 2009": 76.22, "Li 2012": 80.14, "Yang 2015": 84.80, "Li 2015": 86.32,
        "Fu 2019": 82.89, "Li 2017": 86.86, "Wei 2018": 88.03, "Jan 2018": 88.54, "Chen 2018": 86.67,
        "Jiao 2019": 89.11, "Zhu 2019": 88.35, "Jiao 2020": 89.72, "Zhu 2020": 88.75, "Sui 2021": 89.82,
        "Ni 2022": 88.91,
        "texture": 87.68, "depth": 86.97, "afnet": 90.08,
        "s1": 86.54, "s2": 86.28, "s3": 87.61, "s4": 88.12, "no_ma": 88.89,
        "texture_no_ma": 85.06, "depth_no_ma": 84.37,
    },
)  # fmt: skip

BOSPHORUS = Database(
    name="bosphorus",
    title="Bosphorus",
    reader=bosphorus,
    scans="a Bosphorus range grid (….bnt)",
    description="Bosphorus: six expressions, at most one scan of each per subject, 105 subjects, 63 of them with all.",
    settings={"model.pretrained": "imagenet"},
    paper={
        "Li 2012": 75.83, "Yang 2015": 77.50, "Li 2015": 79.72, "Fu 2019": 75.93, "Li 2017": 80.28,
        "Wei 2018": 82.50, "Tian 2019": 79.17, "Jiao 2020": 83.63, "Sui 2021": 87.65, "Ni 2022": 85.16,
        "texture": 85.42, "depth": 82.06, "afnet": 88.31,
        "s1": 85.08, "s2": 84.36, "s3": 85.54, "s4": 86.17, "no_ma": 87.11,
        "texture_no_ma": 82.69, "depth_no_ma": 80.58,
    },
)  # fmt: skip

SYNTHETIC = Database(
    name="synthetic",
    title="synthetic subjects",
    reader=bu3dfe,
    scans=BU3DFE.scans,
    description="Synthetic subjects in BU-3DFE's format: six expressions at levels 3 and 4.",
    settings={
        "dataset.image_size": 64,
        "protocol.subjects": 0,
        "protocol.folds": 5,
        "protocol.rounds": 1,
        "dataset.synthetic_subjects": 40,
        # From random weights and few subjects, so unlike the paper: a higher rate that decays, small batches, faces
        # mirrored, turned and scaled a little, a face tested together with its mirror image.
        "train.epochs": 7,
        "train.batch_size": 16,
        "train.learning_rate": 5e-4,
        "train.learning_rate_decay": "cosine",
        "train.weight_decay": 0.02,
        "train.label_smoothing": 0.1,
        "train.flip": True,
        "train.max_turn": 4.0,
        "train.max_zoom": 0.05,
        "train.evaluate_every": 4,
        "model.mirror": True,
    },
    is_synthetic=True,
)

MESH = Database(
    name="mesh",
    title="meshes",
    reader=meshes,
    scans=f"a mesh ({', '.join(meshes.FORMATS)})",
    description="Meshes of any origin; their names tell no expression, so that they are for prediction alone.",
)

DATABASES = {database.name: database for database in (BU3DFE, BOSPHORUS, SYNTHETIC, MESH)}
OWN = "own"  # of scans of the user's own, where no other name is given
_OWN_SCANS = "Scans of the user's own, six expressions of each subject."
_NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")  # of a folder, and of a tfds data set


def is_database_name(name: object) -> bool:
    """Tells whether a database of the user's own may have this name, as those of DATABASES do."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def database_of(name: str, reader: str | Path | None = None, naming: str | None = None) -> Database:
    """Returns the database of a name: one of DATABASES or, with a reader or a naming rule, one of the user's own.

    Args:
        name: of the database.
        reader: Python file that reads scans of one's own, see OwnReader; it is run anew by every call.
        naming: how one's own meshes are named, see NamingRule.

    Raises:
        DatasetError: an unknown name, a reader for a database that has one, a name that cannot be a folder's, both a
            reader and a naming rule, or a rule that cannot be used.
        ScanError: a reader that cannot be used.
    """
    if reader is not None and naming is not None:
        raise DatasetError("a reader says itself how files are named: give either --reader or --naming")
    check_database(name, has_reader=reader is not None or naming is not None)
    if naming is not None:
        return Database(name, name, NamingRule(naming), f"a mesh named {naming}", _OWN_SCANS)
    if reader is None:
        return DATABASES[name]
    return Database(
        name=name,
        title=name,
        reader=OwnReader(reader),
        scans=f"a file whose name the scan_id of {Path(reader).name} takes",
        description=_OWN_SCANS,
    )


def check_database(name: str, has_reader: bool) -> None:
    """Refuses an unknown name, a reader for a database that has one, and a name that cannot be a folder's.

    Raises:
        DatasetError: names the database, what was expected and what to do.
    """
    if not has_reader and name not in DATABASES:
        known = ", ".join(sorted(DATABASES))
        raise DatasetError(
            f"database {name!r} is unknown; expected one of {known}, or your own with --naming=RULE or --reader=FILE"
        )
    if has_reader and name in DATABASES:
        raise DatasetError(f"database {name!r} has its own reader; give your scans another name, such as {OWN}")
    if not is_database_name(name):
        raise DatasetError(f"database {name!r}: expected a name of small letters, digits and _, such as {OWN}")


def readable_databases(reader: str | Path | None = None) -> tuple[Database, ...]:
    """Returns all databases whose scans can be read, that of the user's own reader first."""
    return (*((database_of(OWN, reader),) if reader else ()), *DATABASES.values())


def title_of(name: str) -> str:
    """Returns a database's name as tables and reports show it."""
    return DATABASES[name].title if name in DATABASES else name


def is_synthetic(name: str) -> bool:
    """Tells whether a database's subjects are made, not scanned."""
    return name in DATABASES and DATABASES[name].is_synthetic


def scans_of(databases: Sequence[Database]) -> str:
    """Returns what the databases' scans are, for messages: "a BU-3DFE mesh (…) or a Bosphorus range grid (…)"."""
    *others, last = dict.fromkeys(database.scans for database in databases)
    return f"{', '.join(others)} or {last}" if others else last


def is_scan(path: Path, databases: Sequence[Database]) -> bool:
    """Tells whether a file is a scan of one of the databases by its name.

    Raises:
        ScanError: the user's own reader fails on the name.
    """
    return any(database.scan_id(path) for database in databases)


def read_scan(path: str | Path, database: str | None = None, databases: Sequence[Database] = ()) -> Scan:
    """Reads one scan of any database, which its file's name tells.

    Args:
        path: a BU-3DFE face mesh (…_F3D.wrl), a Bosphorus range grid (….bnt) or a mesh of any origin (.obj, .ply,
            .glb, .gltf, .stl), its texture and landmarks beside it.
        database: name for the scan's id, where it is not the format's own ("synthetic").
        databases: those to choose from, of `readable_databases`; DATABASES by default.

    Raises:
        ScanError: the file is of another kind, missing or broken, or the files beside it are.
    """
    path, databases = user_path(path), databases or tuple(DATABASES.values())
    found = next((each for each in databases if each.scan_id(path)), None)
    # A file of a known kind whose name is none of a scan: its reader tells what is expected of the name.
    found = found or next((each for each in DATABASES.values() if each.main_suffix == path.suffix.lower()), None)
    if found is None:
        what = "a folder" if path.is_dir() else f"a {path.suffix or 'nameless'} file"
        raise ScanError(path, f"found {what}, expected {scans_of(databases)}")
    return (dataclasses.replace(found, name=database) if database else found).read_scan(path)
