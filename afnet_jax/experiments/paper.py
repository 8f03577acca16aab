"""The paper's experiments, all of them: a run for each variant, then its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from afnet_jax.analysis import figures, tables
from afnet_jax.analysis.run import Run, load_run
from afnet_jax.analysis.significance import compare
from afnet_jax.atomic_files import write_atomically
from afnet_jax.config import default_config, validate
from afnet_jax.datasets.loading import FaceDataset
from afnet_jax.errors import ConfigError, RunError
from afnet_jax.experiments.run import AllGivenUp, load_data, make_ready, open_folder, run_in
from afnet_jax.models.architecture import VARIANTS
from afnet_jax.paths import user_path
from afnet_jax.protocol import folds_of
from afnet_jax.runs.folder import same_settings
from afnet_jax.runs.start import load_start
from afnet_jax.scans.databases import is_synthetic, title_of
from afnet_jax.training import processes
from afnet_jax.training.progress import say


def reproduce(
    config: ConfigDict, workdir: str | Path, variants: Sequence[str] = (), data: FaceDataset | None = None
) -> dict[str, Run]:
    """Runs or resumes every variant, each in a folder of its name, then draws tables and figures in workdir/paper.

    What is finished is not run again. Variants of one and the same network are run once: `fuse_34` is `no_ma`.

    Args:
        config: of AFNet-M; the variants differ from it in what makes them variants.
        workdir: folder of it all.
        variants: those that are wanted; all by default.
        data: the data set, where it is not the one that config.dataset names.

    Returns:
        The runs by variant.

    Raises:
        AFNetError: as `run_experiment`.
    """
    if config.variant != "afnet":
        raise ConfigError(f"variant {config.variant!r}: give the config without a variant; all of them are run")
    if unknown := set(variants) - set(VARIANTS):
        raise ConfigError(f"variant {min(unknown)!r} is unknown; expected some of {', '.join(VARIANTS)}")
    configs = {name: with_variant(config, name) for name in VARIANTS if not variants or name in variants}
    for changed in configs.values():
        validate(changed)
    make_ready(config)
    workdir, data = user_path(workdir), load_data(config) if data is None else data
    start = load_start(config.model.start_from)
    runs = run_variants(configs, workdir, data, start.sha256 if start else None)
    with processes.first_alone("the figures are drawn"):
        if jax.process_index() == 0:
            draw(runs, workdir / "paper", data)
    return runs


def run_variants(
    configs: Mapping[str, ConfigDict], workdir: Path, data: FaceDataset, start: str | None = None
) -> dict[str, Run]:
    """Runs by variant, of these valid settings by variant: opened where finished before, trained elsewhere.

    Args:
        configs: of each variant.
        workdir: folder of the variants' folders.
        data: of them all.
        start: SHA-256 of the weights that config.model.start_from names, None where it names none.
    """
    runs: dict[str, Run] = {}
    for number, (variant, config) in enumerate(configs.items(), start=1):
        twin = next((v for v in runs if VARIANTS[v] == VARIANTS[variant]), None)
        say(f"variant {number}/{len(configs)}: {variant}" + (f" is the network of {twin}" if twin else ""))
        runs[variant] = runs[twin] if twin else _open_or_train(config, workdir / variant, data, start)
    return runs


def with_variant(config: ConfigDict, variant: str) -> ConfigDict:
    """The config of AFNet-M, changed in what makes another variant of it."""
    changed, ours, theirs = config.copy_and_resolve_references(), default_config().model, default_config(variant).model
    with changed.unlocked(), changed.ignore_type():
        changed.variant = variant
        for field in theirs:
            if theirs[field] != ours[field]:
                changed.model[field] = theirs[field]
    return changed


def _open_or_train(config: ConfigDict, path: Path, data: FaceDataset, start: str | None) -> Run:
    if run := _finished(config, path, data, start):
        say("  finished before")
        return run
    try:
        with open_folder(path) as folder:
            return run_in(folder, config, data)
    except AllGivenUp as error:  # the other variants are worth having
        say(f"  {error}")
        return error.run


def _finished(config: ConfigDict, path: Path, data: FaceDataset, start: str | None) -> Run | None:
    """Returns the run of these settings, data and starting weights if it has come to its end in this folder."""
    try:
        run = load_run(path)
        if not run.summary["complete"] or not same_settings(run.config, config):
            return None
        if run.environment.get("start_from", {}).get("sha256") != start:
            return None
        same = run.environment.get("data_sha256") == data.digest and run.splits == folds_of(
            config.protocol, data.subjects, data.labels
        )
        return run if same else None
    except RunError:
        return None  # not begun, or not finished


def draw(runs: dict[str, Run], folder: Path, data: FaceDataset) -> None:
    """Tables (.md, .tex, .csv) and figures (.png, .pdf) of whatever variants there are, and README.md with them all."""
    folder.mkdir(parents=True, exist_ok=True)
    # A network has its number under each of its names: `fuse_34` stands in Tables II and III as `no_ma`.
    twins = {name: run for name in VARIANTS for known, run in runs.items() if VARIANTS[name] == VARIANTS[known]}
    runs = {**twins, **runs}
    any_run = next(iter(runs.values()))
    database = any_run.config.dataset.name
    drawn = [*tables.paper_tables(runs, database), tables.variants_table(runs, _comparisons(runs))]
    for table in drawn:
        for suffix, text in ((".md", table.to_markdown()), (".tex", table.to_latex()), (".csv", table.to_csv())):
            write_atomically(folder / f"{table.name}{suffix}", text)
    pictures = _figures(runs, database, data)
    for name, (_, figure) in pictures.items():
        figures.save(figure, folder / f"{name}.png")
    parts = [f"# The paper's experiments on {title_of(database)}\n", _caution(database)]
    parts += [f"{line}\n" for line in dict.fromkeys(line for run in runs.values() for line in run.seen_before)]
    parts += [table.to_markdown() for table in drawn]
    parts += [f"![{title}]({name}.png)\n\n{title}\n" for name, (title, _) in pictures.items()]
    write_atomically(folder / "README.md", "\n".join(parts))
    say(f"tables and figures are in {folder}")


def _caution(database: str) -> str:
    if is_synthetic(database):
        return "Synthetic subjects: their accuracies say nothing about those on the paper's databases.\n"
    return "Accuracies are means over rounds of cross-validation, ± the sample standard deviation over rounds.\n"


def _comparisons(runs: dict[str, Run]) -> dict:
    scored = {variant: run for variant, run in runs.items() if run.summary["accuracy"]["mean"] is not None}
    if "afnet" not in scored:
        return {}
    found = {}
    for variant, run in scored.items():
        if variant != "afnet":
            try:
                found[variant] = compare(runs["afnet"], run)
            except RunError as error:  # no round that both have finished
                say(f"{variant} is not compared with afnet: {error}")
    return found


def _figures(runs: dict[str, Run], database: str, data: FaceDataset) -> dict:
    """Name -> (title, figure) of each figure whose variants are there."""
    drawn = {}
    wanted = {"with MA": "afnet", "without MA": "no_ma"}
    panels = {title: runs[variant] for title, variant in wanted.items() if variant in runs}
    if panels:
        drawn["fig_4"] = ("Fig. 4: confusion matrices, % of each true expression", figures.confusion_matrices(panels))
    if any(row.variant in runs for row in tables.paper.FIG_5):
        drawn["fig_5"] = ("Fig. 5: fusion positions", figures.fusion_positions(runs, database))
    if len(panels) == 2:
        try:
            heat = figures.heat_maps(runs["afnet"], runs["no_ma"], data)
        except RunError as error:
            say(f"Fig. 6 is left out: {error}")
        else:
            drawn["fig_6"] = ("Fig. 6: where the networks look (Grad-CAM), one subject", heat["fig_6"])
            drawn["fig_6_mean"] = ("Fig. 6, the mean over one subject of each fold", heat["fig_6_mean"])
    return drawn
