"""Finished runs on prepared data sets: trained on one, tested on another, one pair or all of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from ml_collections import ConfigDict

from afnet_jax.analysis.evaluation import evaluate_on, remarks
from afnet_jax.analysis.evaluation_page import between, in_a_line, write_evaluation
from afnet_jax.analysis.report_page import page
from afnet_jax.analysis.run import Run
from afnet_jax.analysis.tables import Table
from afnet_jax.atomic_files import write_atomically, write_json
from afnet_jax.datasets.loading import FaceDataset, load
from afnet_jax.errors import DatasetError, RunError
from afnet_jax.html_page import Section, paragraph, table, text
from afnet_jax.runs.folder import is_run_folder
from afnet_jax.scans.databases import is_database_name, is_synthetic, title_of
from afnet_jax.training.progress import say


def evaluate_all(
    runs: Sequence[Run],
    data_dirs: Mapping[str, Path],
    out: Path,
    *,
    round: int = 0,
    levels: Sequence[int] = (),
    people: str = "auto",
) -> list[dict]:
    """Tests the networks of every run on every data set, each of which is loaded once for each size of image.

    A single pair is written into `out` itself; several into folders of their own there, with cross_database.html and
    .json beside them.

    Args:
        runs: finished ones.
        data_dirs: name of a data set -> folder of prepared data sets that holds it.
        out: folder to write to; made if need be.
        round, people: as `evaluate_on`.
        levels: intensities that take part; those that each run was trained on by default.

    Returns:
        The content of each pair's evaluation.json, run by run.

    Raises:
        AFNetError: a run or a data set that cannot be used; pairs before it are written. Runs that mean different
            synthetic subjects by the same name are refused before that.
    """
    for database in data_dirs:
        if not is_database_name(database):
            raise DatasetError(f"--on={database}: expected the name of a data set: small letters, digits and _")
    if is_run_folder(out):
        raise RunError(f"--out={out}: holds a run, whose predictions would be lost; give another folder")
    names = _names(runs)
    _check_one_set_each(runs, names, data_dirs)
    _check_levels(runs, names, levels)
    loaded: dict[str, FaceDataset] = {}
    found = []
    for run, name in zip(runs, names, strict=True):
        run.summary  # noqa: B018  a run that is not finished is told before a data set is loaded
        for database, data_dir in data_dirs.items():
            settings = settings_on(run, database, data_dir, levels)
            key = f"{settings.to_json()} {run.config.model.modalities}"
            if key not in loaded:
                loaded[key] = load(settings, run.config.model.modalities)
            evaluation = evaluate_on(run, loaded[key], settings, round=round, people=people)
            single = len(runs) == len(data_dirs) == 1
            found.append(write_evaluation(evaluation, out if single else out / f"{name}-on-{database}"))
            for remark in remarks(evaluation):
                say(f"warning: {name} on {database}: {remark}")
            say(in_a_line(found[-1]))
    if len(found) > 1:
        _write_table(found, names, list(data_dirs), out)
    return found


def _check_one_set_each(runs: Sequence[Run], names: Sequence[str], databases: Iterable[str]) -> None:
    """Refuses runs for which a name means different data sets, whose accuracies would share a column.

    Raises:
        RunError: the synthetic subjects of one run are others than those of another.
    """
    for database in filter(is_synthetic, databases):
        drawn: dict[str, str] = {}
        for run, name in zip(runs, names, strict=True):
            data = run.config.dataset
            subjects = f"{data.synthetic_subjects} {data.synthetic_variety} subjects of seed {data.synthetic_seed}"
            drawn.setdefault(subjects, name)
        if len(drawn) > 1:
            told = ", ".join(f"{subjects} for {name}" for subjects, name in drawn.items())
            raise RunError(f"--on={database}: means {told}; evaluate these runs one by one")


def _check_levels(runs: Sequence[Run], names: Sequence[str], levels: Sequence[int]) -> None:
    """Refuses runs of different intensities, which would be tested on different scans, where none are asked for."""
    own = {name: tuple(run.config.dataset.levels) for run, name in zip(runs, names, strict=True)}
    if not levels and len(set(own.values())) > 1:
        told = ", ".join(f"{','.join(map(str, each))} for {name}" for name, each in own.items())
        raise RunError(f"--levels: the runs learned from different ones ({told}); say which take part")


def settings_on(run: Run, database: str, data_dir: Path, levels: Sequence[int] = ()) -> ConfigDict:
    """Returns the config.dataset of another data set at the image size of a run's networks."""
    settings = run.config.dataset.copy_and_resolve_references()
    with settings.unlocked():
        settings.update(name=database, data_dir=str(data_dir), levels=tuple(levels or settings.levels))
    return settings


def _names(runs: Sequence[Run]) -> list[str]:
    """A name for each run's row: that of its folder, with its parents' where several have the same.

    Raises:
        RunError: a run is given twice.
    """
    paths = [run.path.resolve() for run in runs]
    if twice := {path for path in paths if paths.count(path) > 1}:
        raise RunError(f"{min(twice)}: this run is given twice; give each once")
    parts = 1
    while len({path.parts[-parts:] for path in paths}) < len(paths):
        parts += 1
    return ["-".join(path.parts[-parts:]).replace("/", "") for path in paths]


def cross_table(found: Sequence[dict], names: Sequence[str], databases: Sequence[str]) -> Table:
    """A row for each run, a column for each data set: accuracy and its interval, %.

    Args:
        found: content of the evaluations, run by run.
        names: of the runs.
        databases: names of the data sets.
    """
    rows = []
    for place, name in enumerate(names):
        of_run = found[place * len(databases) : (place + 1) * len(databases)]
        cells = [f"{100 * each['accuracy']['mean']:.1f}{between(each, ' ({}–{})')}" for each in of_run]
        rows.append((name, title_of(of_run[0]["trained_on"]), *cells))
    return Table(
        "cross_database",
        "Accuracy of each run's networks on each data set, %, with the 95 % interval over subjects",
        ("run", "trained on", *map(title_of, databases)),
        tuple(rows),
    )


def _write_table(found: Sequence[dict], names: Sequence[str], databases: Sequence[str], out: Path) -> None:
    listed = cross_table(found, names, databases)
    lead = paragraph(
        "A run is tested on its own data set by the networks that did not learn from the subject in question, on "
        "another by all networks of a round together, whose probabilities are averaged."
    )
    links = "".join(
        f'<li><a href="{quote(f"{name}-on-{database}")}/evaluation.html">{text(name)} on {title_of(database)}</a></li>'
        for name in names
        for database in databases
    )
    sections = [
        Section("accuracy", "Trained on one, tested on another", table(listed.title, listed.columns, listed.rows)),
        Section("pairs", "Each pair", f"<ul>{links}</ul>"),
    ]
    write_json(out / "cross_database.json", list(found))
    write_atomically(out / "cross_database.html", page("Across data sets", lead, sections))
    say(listed.to_text())
