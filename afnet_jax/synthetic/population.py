"""Scans of synthetic subjects, each a pure function of its arguments, and folders of them."""

from __future__ import annotations

import dataclasses
import functools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from afnet_jax.atomic_files import write_arrays_atomically
from afnet_jax.machine import usable_cores
from afnet_jax.paths import user_path
from afnet_jax.scans import bosphorus, bu3dfe
from afnet_jax.scans.scan import EXPRESSION_CODES, NEUTRAL_CODE, Scan, ScanError, ScanId
from afnet_jax.synthetic import capture, picture, sensor, skin, template
from afnet_jax.synthetic.expression import draw_activation
from afnet_jax.synthetic.head import person_at_rest, shape_head
from afnet_jax.synthetic.identity import Person
from afnet_jax.workers import worker_processes

_CODES = (*EXPRESSION_CODES, NEUTRAL_CODE)
_WORDS = {code: f"E_{word}" for word, code in bosphorus.EXPRESSION_WORDS.items()} | {NEUTRAL_CODE: "N_N"}
_RECIPE = "made_with.json"
SCANNERS = {"bu3dfe": capture.bu3dfe_scan, "bosphorus": capture.bosphorus_scan}  # by the database whose files are made
GENERATION = 2  # of the scans: whatever changes any of them raises it (tests/datasets/test_synthetic_default.py)


@dataclasses.dataclass(frozen=True)
class Truth:
    """The clean surface of a scan seen along −z in the scan's own frame, on a grid of 1 mm.

    Attributes:
        depth: (H, W) float32 mm; pixel (r, c) is x = x0 + c, y = y0 + r: row 0 is the LOWEST y.
        rgb: (H, W, 3) uint8.
        valid: (H, W) bool, the scanned face.
        x0, y0: mm.
        landmarks: (83 or 22, 3) mm, in the order of the database's files.
        landmarks68: (68, 3) mm, the set of Multi-PIE and iBUG.
        rotation, translation: (3, 3) and (3,), p_scan = rotation @ p_head + translation.
        expression: code; level: 1 to 4, 0 where the database has none.
    """

    depth: np.ndarray
    rgb: np.ndarray
    valid: np.ndarray
    x0: float
    y0: float
    landmarks: np.ndarray
    landmarks68: np.ndarray
    rotation: np.ndarray
    translation: np.ndarray
    expression: str
    level: int

    def save(self, path: Path) -> None:
        """Writes NAME_truth.npz, whole or not at all."""
        write_arrays_atomically(path, {field.name: getattr(self, field.name) for field in dataclasses.fields(self)})


def make_scan(
    subject: int, expression: str, level: int | None, *, database: str, seed: int, clean: bool = False
) -> tuple[Scan, Truth]:
    """Makes one scan of a synthetic subject; the same arguments give the same bytes.

    Args:
        subject: 0, 1, …: who of the population `seed`.
        expression: one of EXPRESSION_CODES or NEUTRAL_CODE.
        level: intensity 1 to 4; None for neutral faces, and for Bosphorus, which has no levels.
        database: "bu3dfe" or "bosphorus": whose scanner.
        clean: without noise, spikes and holes; pose, light and crop stay.

    Raises:
        ValueError: an argument is none of these.
    """
    identity = _scan_id(subject, expression, level, database, seed)
    key = (seed, subject)
    person, rest = person_at_rest(subject, seed)
    scan_key = [*key, _CODES.index(expression), level or 0, int(database == "bosphorus")]
    rng, scanner_rng = (np.random.default_rng([*scan_key, stream]) for stream in (1, 2))
    head = shape_head(person, rest, draw_activation(expression, level, key), tuple(rng.normal(0, [1.2, 0.5])))
    light = picture.draw_light(rng)
    shown = capture.Subject(
        head=head,
        attributes=picture.look_attributes(head, light),
        normals=picture.normals(head),
        sheet=_painted(person.seed),
        light=light,
        crop=sensor.draw_crop(rng),
        pose=sensor.draw_pose(rng),
    )
    return SCANNERS[database](shown, identity, scanner_rng, clean), _truth(shown, identity)


@functools.lru_cache(maxsize=4)
def _painted(key: tuple[int, int]) -> np.ndarray:
    seed, subject = key
    return skin.paint_person(person_at_rest(subject, seed)[0])


def _scan_id(subject: int, expression: str, level: int | None, database: str, seed: int) -> ScanId:
    if expression not in _CODES or subject < 0 or database not in SCANNERS:
        raise ValueError(f"no such scan: subject {subject}, expression {expression!r}, database {database!r}")
    without_level = database == "bosphorus" or expression == NEUTRAL_CODE
    if (level is not None) if without_level else (level not in (1, 2, 3, 4)):
        raise ValueError(f"level {level!r}: expected {'None' if without_level else '1 to 4'}")
    if database == "bosphorus":
        name = f"bs{subject:03d}"
        return ScanId(database, name, expression, None, None, f"{name}_{_WORDS[expression]}_0")
    person: Person = person_at_rest(subject, seed)[0]
    name = f"{person.sex}{subject // 2 + 1:04d}"
    stem = f"{name}_{expression}{level or 0:02d}{person.ethnicity}"
    return ScanId(database, name, expression, level, person.ethnicity, stem)


def _truth(shown: capture.Subject, identity: ScanId) -> Truth:
    view, x0, y0 = capture.front_view(shown, 1.0)
    posed = shown.posed()
    names = bosphorus.LANDMARK_NAMES.values()
    marks = template.bu3dfe_places()
    if identity.database == "bosphorus":
        marks = np.array([template.common_places()[name] for name in names])
    return Truth(
        depth=view.depth,
        rgb=shown.colours(view),
        valid=view.seen & (view.values[..., 4] < 1),
        x0=x0,
        y0=y0,
        landmarks=template.interpolate(posed, marks),
        landmarks68=template.interpolate(posed, template.multipie_places()),
        rotation=shown.pose.rotation,
        translation=shown.pose.translation,
        expression=identity.expression,
        level=identity.level or 0,
    )


def write_people(
    folder: str | Path,
    *,
    database: str,
    subjects: int,
    seed: int,
    clean: bool = False,
    levels: Sequence[int] = (3, 4),
    workers: int | None = None,
) -> list[Path]:
    """Writes all expressions of synthetic subjects in a database's raw format, each with its truth (NAME_truth.npz).

    Run again, it goes on where it stopped, and more subjects or levels join those that are there.

    Args:
        folder: where the subjects' folders go; made if need be.
        database: "bu3dfe" (6 expressions at each level) or "bosphorus" (6 expressions).
        subjects: how many; seed: of the population.
        workers: processes; one per core by default.

    Returns:
        The scans' paths, for `read_scan`.

    Raises:
        ScanError: the folder holds other files, or subjects of another seed, or there are no names for so many.
    """
    if database == "bosphorus" and subjects > 1000:
        raise ScanError(folder, f"{subjects} subjects: Bosphorus' names end with bs999; ask for at most 1000")
    folder = user_path(folder)
    _claim(folder, {"database": database, "seed": seed, "clean": clean, "generation": GENERATION})
    job = functools.partial(
        _write_person, folder=folder, database=database, seed=seed, clean=clean, levels=tuple(levels)
    )
    count = min(workers or usable_cores(), subjects)
    with tqdm(total=subjects, unit="subject", desc="making subjects", mininterval=1.0) as bar:
        if count == 1:
            return [path for subject in range(subjects) for path in _counted(bar, job(subject))]
        with worker_processes(count) as pool:
            return [path for paths in pool.map(job, range(subjects)) for path in _counted(bar, paths)]


def _counted(bar: tqdm, paths: list[Path]) -> list[Path]:
    bar.update()
    return paths


def _claim(folder: Path, recipe: dict) -> None:
    """Marks a folder with its population's recipe, so that two populations never mix."""
    path = folder / _RECIPE
    folder.mkdir(parents=True, exist_ok=True)
    if path.exists():
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except ValueError:
            found = "something unreadable"
        if found != recipe:
            raise ScanError(path, f"the folder holds subjects of {found}, asked for {recipe}; give another folder")
    elif any(folder.iterdir()):
        raise ScanError(folder, "the folder holds files other than synthetic subjects; give an empty or a new one")
    else:
        path.write_text(json.dumps(recipe) + "\n", encoding="utf-8")


def _write_person(
    subject: int, *, folder: Path, database: str, seed: int, clean: bool, levels: tuple[int, ...]
) -> list[Path]:
    writer = bu3dfe if database == "bu3dfe" else bosphorus
    paths = []
    for expression in EXPRESSION_CODES:
        for level in levels if database == "bu3dfe" else (None,):
            identity = _scan_id(subject, expression, level, database, seed)
            suffix = "_F3D" if database == "bu3dfe" else ""
            truth_path = folder / identity.subject / f"{identity.name}{suffix}_truth.npz"
            path = truth_path.with_name(f"{identity.name}{suffix}{writer.SUFFIXES[0]}")
            if not truth_path.exists():  # it is written last
                scan, truth = make_scan(subject, expression, level, database=database, seed=seed, clean=clean)
                truth.save(writer.write_scan(scan, folder).with_name(truth_path.name))
            paths.append(path)
    return paths
