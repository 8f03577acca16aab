"""Every variant once, the paper's numbers beside ours, and nothing but drawing the second time."""

import contextlib
import csv
import dataclasses
import json
import statistics
import types

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix

from afnet_jax.analysis import figures, load_run, paper
from afnet_jax.analysis.significance import p_value
from afnet_jax.analysis.summary import summarize
from afnet_jax.analysis.tables import Table, paper_tables, signed
from afnet_jax.config import default_config
from afnet_jax.errors import ConfigError, RunError
from afnet_jax.experiments import paper as experiments
from afnet_jax.experiments.paper import reproduce, with_variant
from afnet_jax.experiments.run import AllGivenUp
from afnet_jax.models.architecture import VARIANTS
from afnet_jax.protocol import folds_of, to_json
from afnet_jax.scans.databases import DATABASES
from tests.support.finished_run import make_config, write_run


@pytest.fixture
def begun(monkeypatch, faces):
    """Variants whose training was asked for; each makes a finished run at once."""
    calls = []

    def instead_of_training(folder, config, data):
        calls.append(config.variant)
        return load_run(write_run(folder, faces, config, seed=len(calls), skill=3))

    monkeypatch.setattr(experiments, "open_folder", contextlib.nullcontext)  # write_run opens it
    monkeypatch.setattr(experiments, "run_in", instead_of_training)
    return calls


def _config(**changes):
    return make_config(**{"dataset.name": "bosphorus", "train.epochs": 1, **changes})


@pytest.mark.slow
def test_all_of_the_paper(begun, faces, tmp_path):
    runs = reproduce(_config(), tmp_path, data=faces)
    assert list(runs) == list(VARIANTS)
    assert begun == [v for v in VARIANTS if v != "fuse_34"]  # which is no_ma
    folder = tmp_path / "paper"
    names = {"table_1", "table_2", "table_3", "table_4", "fig_5", "variants"}
    assert {f"{name}{suffix}" for name in names for suffix in (".md", ".tex", ".csv")} <= _names(folder)
    assert {"fig_4.png", "fig_4.pdf", "fig_5.png", "fig_5.pdf", "README.md"} <= _names(folder)
    with (folder / "table_3.csv").open() as file:
        row = {line["Method"]: line for line in csv.DictReader(file)}["2D+3D (IWC) with MA"]
    mean, spread = map(float, row["Here, Bosphorus"].split(" ± "))
    per_round = [_accuracy(runs["afnet"], round_) for round_ in (0, 1)]
    assert mean == pytest.approx(statistics.mean(per_round), abs=0.0051)
    assert spread == pytest.approx(statistics.stdev(per_round), abs=0.0051)
    assert (row["Paper, BU-3DFE"], row["Paper, Bosphorus"]) == ("90.08", "88.31")
    assert float(row["Here − paper"].replace("−", "-")) == pytest.approx(mean - 88.31, abs=0.0101)
    begun.clear()
    reproduce(_config(), tmp_path, data=faces)
    assert not begun


def _accuracy(run, round_):
    """% of a round, from the predictions."""
    predictions = run.predictions
    right = predictions["logits"].argmax(-1) == predictions["label"]
    return 100 * right[predictions["round"] == round_].mean()


class _Run:
    """As much of a run as tables read."""

    def __init__(self, mean, std, per_round, complete=True):
        self.summary = {"accuracy": {"mean": mean, "std": std, "per_round": per_round}, "complete": complete}


@pytest.mark.parametrize(
    ("run", "here", "gap"),
    [
        (_Run(0.87654, 0.00412, [0.87, 0.88]), "87.65 ± 0.41", "−0.66"),
        (_Run(0.9, 0.0, [0.9]), "90.00", "+1.69"),
        (_Run(0.88306, 0.01, [0.88, 0.89, 0.88], complete=False), "88.31 ± 1.00 (incomplete)", "+0.00"),
        (_Run(None, None, [], complete=False), "–", "–"),
    ],
)
def test_cells_beside_the_papers(run, here, gap):
    (table,) = [table for table in paper_tables({"afnet": run}, "bosphorus") if table.name == "table_3"]
    (row,) = [row for row in table.rows if row[0] == "2D+3D (IWC) with MA"]
    assert row[1:] == ("90.08", "88.31", here, gap)


@pytest.mark.slow
def test_figures_draw_the_predictions(run, faces, tmp_path):
    """Fig. 4 in percent of the true expression as scikit-learn counts it; Fig. 5's bars and their spread."""
    drawn = figures.confusion_matrices({"with MA": run}).axes[0]
    predictions = run.predictions
    truth, guess = predictions["label"], predictions["logits"].argmax(-1)
    shares = 100 * confusion_matrix(truth, guess, normalize="true")
    np.testing.assert_allclose(drawn.images[0].get_array(), shares)
    assert [text.get_text() for text in drawn.texts] == [f"{share:.1f}" for share in shares.ravel()]
    other = load_run(write_run(tmp_path, faces, make_config("fuse_4"), seed=5))
    axes = figures.fusion_positions({"fuse_34": run, "fuse_4": other}, "bu3dfe").axes[0]
    (bars,) = (c for c in axes.containers if c.get_label() == "here")
    errors = axes.collections[0].get_segments()
    for bar, error, found in zip(bars, errors, (run, other), strict=True):
        per_round = [_accuracy(found, round_) for round_ in (0, 1)]
        assert bar.get_height() == pytest.approx(statistics.mean(per_round))
        assert (error[1, 1] - error[0, 1]) / 2 == pytest.approx(statistics.stdev(per_round))


def test_a_run_without_a_complete_round_has_no_bar(run):
    none = types.SimpleNamespace(summary={"accuracy": {"mean": None, "std": None}})
    for others in ({"fuse_34": run}, {}):
        axes = figures.fusion_positions({"fuse_4": none, **others}, "own").axes[0]
        assert [label.get_text() for label in axes.get_xticklabels()] == ["Layer34"] * len(others)


def test_without_a_complete_round_of_afnet_there_are_the_other_numbers(monkeypatch, faces, tmp_path):
    def given_up(workdir, config, data):
        run = load_run(write_run(workdir, faces, config, skill=3))
        if config.variant == "afnet":
            with np.load(workdir / "predictions.npz") as file:
                np.savez(workdir / "predictions.npz", **{name: column[:0] for name, column in file.items()})
            (workdir / "summary.json").write_text(json.dumps(summarize(load_run(workdir))))
            raise AllGivenUp(run)
        return run

    monkeypatch.setattr(experiments, "open_folder", contextlib.nullcontext)
    monkeypatch.setattr(experiments, "run_in", given_up)
    runs = reproduce(_config(), tmp_path, ["afnet", "s1", "no_ma"], data=faces)
    text = (tmp_path / "paper" / "README.md").read_text()
    assert f"{100 * runs['s1'].summary['accuracy']['mean']:.2f}" in text
    assert runs["afnet"].summary["accuracy"]["mean"] is None


def test_a_relative_data_set_is_the_same_run(begun, faces, tmp_path, monkeypatch):
    """Finished before is finished, although config.json names the data set's whole path."""
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        reproduce(_config(**{"dataset.data_dir": "data"}), tmp_path, ["s2"], data=faces)
    assert begun == ["s2"]


def _names(folder):
    return {path.name for path in folder.iterdir()}


def test_some_variants_and_what_is_missing(begun, faces, tmp_path):
    reproduce(_config(), tmp_path, ["s2", "depth"], data=faces)
    assert begun == ["s2", "depth"]
    text = (tmp_path / "paper" / "README.md").read_text()
    assert "| S1: data level | 86.54 | 85.08 | – | – |" in text and "Fig. 4" not in text


def test_a_network_stands_under_each_of_its_names(begun, faces, tmp_path):
    reproduce(_config(), tmp_path, ["afnet", "fuse_34"], data=faces)
    with (tmp_path / "paper" / "table_3.csv").open(encoding="utf-8") as file:
        (row,) = [row for row in csv.reader(file) if row[0] == "2D+3D (IWC)"]  # no_ma
    assert begun == ["afnet", "fuse_34"] and row[3] not in ("", "–")


def test_another_config_is_not_taken_for_finished(begun, faces, tmp_path):
    reproduce(_config(), tmp_path, ["s2"], data=faces)
    begun.clear()
    with pytest.raises(RunError, match="holds another run"):
        reproduce(_config(**{"train.learning_rate": 0.5}), tmp_path, ["s2"], data=faces)
    assert begun == ["s2"]  # it is the run folder that refuses, and names what differs


def test_a_splits_file_that_has_changed_is_not_taken_for_finished(begun, faces, tmp_path):
    """Its path in the config is the same; what it says decides."""
    file = tmp_path / "my_splits.json"
    for seed in (0, 1):
        folds = folds_of(_config(**{"protocol.seed": seed}).protocol, faces.subjects, faces.labels)
        file.write_text(to_json(folds))
        refused = pytest.raises(RunError, match=r"splits\.json: this folder holds another run")
        with refused if seed else contextlib.nullcontext():
            reproduce(_config(**{"protocol.splits": str(file)}), tmp_path, ["s2"], data=faces)
    assert begun == ["s2", "s2"]


@pytest.mark.parametrize(("variant", "variants"), [("s1", []), ("afnet", ["nobody"])])
def test_wrong_variants(variant, variants, tmp_path):
    with pytest.raises(ConfigError):
        reproduce(make_config(variant), tmp_path, variants)


def test_variants_keep_what_was_set(tmp_path):
    config = _config(**{"model.head_widths": (32,), "model.dtype": "bfloat16"})
    for variant in VARIANTS:
        changed = with_variant(config, variant)
        expected = make_config(variant, **{"dataset.name": "bosphorus", "train.epochs": 1})
        with expected.unlocked():
            expected.model.head_widths, expected.model.dtype = (32,), "bfloat16"
        assert json.loads(changed.to_json()) == json.loads(expected.to_json())
    assert config.variant == "afnet"


def test_a_database_that_is_not_the_papers_has_its_own_column_and_no_gap():
    table = paper_tables({}, "frgc")[0]
    assert table.columns == ("Method", "Paper, BU-3DFE", "Paper, Bosphorus", "Here, frgc", "Here − paper")
    assert table.rows[-1] == ("AFNet-M, 2D+3D", "90.08", "88.31", "–", "–")


def test_the_papers_numbers_agree_among_themselves():
    """Rows that stand in several tables have the same numbers; Table IV's differences are the text's."""
    seen = {}
    for row in (*paper.TABLE_I, *paper.TABLE_II, *paper.TABLE_III, *paper.FIG_5):
        numbers = tuple(row.accuracy(database) for database in ("bu3dfe", "bosphorus"))
        if row.variant and numbers[0] is not None:
            key = "no_ma" if row.variant == "fuse_34" else row.variant
            assert seen.setdefault(key, numbers) == numbers, row.name
    assert seen["afnet"][0] - seen["no_ma"][0] == pytest.approx(1.19)
    assert seen["afnet"][1] - seen["no_ma"][1] == pytest.approx(1.2)
    rows = {row.variant or row.name for row in (*paper.TABLE_I, *paper.TABLE_II, *paper.TABLE_III)}
    assert {name for database in DATABASES.values() for name in database.paper} == rows
    assert len(paper.TABLE_I) == 20 and paper.of_network(VARIANTS["afnet"], "synthetic") is None
    mib = paper.TABLE_IV
    assert mib["AFNet-M"] - mib["without MA"] == pytest.approx(mib["MA alone"])
    assert mib["AFNet-M"] - mib["without IWC"] == pytest.approx(mib["IWC alone"])


def test_table_iv_stands_beside_what_is_counted_here():
    (table,) = [table for table in paper_tables({}, "bu3dfe") if table.name == "table_4"]
    rows = {model: figures for model, *figures in table.rows}
    assert rows["without MA"] == ["90.51", "90.51", "88.00"]
    assert rows["AFNet-M"] == ["91.54", "91.14", "88.63"]
    assert rows["FFNet-M (2021)"] == ["93.00", "–", "–"]


def test_tables_escape_what_latex_takes_for_its_own():
    table = Table("t", "50 % ± 1", ("a_b", "c"), (("x & y", "–"),))
    assert r"50 \% $\pm$ 1" in table.to_latex() and r"a\_b & c \\" in table.to_latex()
    assert r"x \& y & -- \\" in table.to_latex()
    assert table.to_csv() == "a_b,c\nx & y,\n"
    below = Table("t", "p", ("p",), ((signed(-1.2),), (p_value(1e-5),)))
    assert below.to_csv() == "p\n-1.20\n< 0.001\n" and "$<$ 0.001" in below.to_latex()
    assert signed(-0.001) == "+0.00" and signed(-1.5) == "−1.50"


@pytest.mark.slow
def test_heat_maps_of_all_folds(run, faces):
    drawn = figures.heat_maps(run, run, faces)
    assert [len(drawn[name].axes) for name in ("fig_6", "fig_6_mean")] == [24, 24]
    assert [axes.get_title() for axes in drawn["fig_6"].axes[:6]] == list(figures.EXPRESSIONS)
    scans = figures.expression_scans(run, faces)
    assert scans.shape == (2, 6) and (faces.labels[scans] == np.arange(6)).all()
    for fold, row in zip(run.splits, scans, strict=False):
        assert set(faces.subjects[row]) == {fold.test[0]}


@pytest.mark.slow
def test_networks_without_both_trunks_have_no_fig_6(run, faces):
    stacked = types.SimpleNamespace(path="stacked", config=with_variant(default_config(), "s1"))
    with pytest.raises(RunError, match="has no trunk of depth or texture to look into"):
        figures.heat_maps(stacked, run, faces)


def test_heat_maps_leave_out_folds_that_were_given_up(tmp_path, faces):
    whole = load_run(write_run(tmp_path / "whole", faces, make_config(), weights=True))
    lost = load_run(write_run(tmp_path / "lost", faces, make_config(), weights=True, given_up=[(0, 0)]))
    pixels = np.stack([axes.images[0].get_array() for axes in figures.heat_maps(whole, lost, faces)["fig_6"].axes])
    assert (pixels.std((1, 2, 3)) > 1).all()
    scan = figures.expression_scans(lost, faces, 0, [1])
    assert set(faces.subjects[scan[0]]) == {lost.splits[1].test[0]}
    gone = load_run(write_run(tmp_path / "gone", faces, make_config(), given_up=[(0, 0), (0, 1)]))
    with pytest.raises(RunError, match="no fold of round 0 has a result in both"):
        figures.heat_maps(whole, gone, faces)


def test_surface_is_lit_from_the_upper_left():
    rows, cols = np.mgrid[-32:32, -32:32]
    dome = np.where(rows**2 + cols**2 < 900, 40 - 0.03 * (rows**2 + cols**2), np.nan)
    light = figures.surface(dome)[..., 0].astype(float)
    assert light[20, 20] > light[44, 44] and light[0, 0] == 0


def test_a_run_of_other_people_is_told(run, faces):
    with pytest.raises(RunError, match="lacks scans"):
        figures.expression_scans(run, dataclasses.replace(faces, subjects=faces.scan_ids))


def test_other_starting_weights_are_not_taken_for_finished(begun, faces, tmp_path, monkeypatch):
    for digest in ("ab", "cd"):
        monkeypatch.setattr(experiments, "load_start", lambda _, digest=digest: types.SimpleNamespace(sha256=digest))
        with contextlib.suppress(RunError):
            reproduce(_config(), tmp_path, ["s2"], data=faces)
        environment = tmp_path / "s2" / "environment.json"
        content = json.loads(environment.read_text()) | {"start_from": {"sha256": "ab", "seen_before": []}}
        environment.write_text(json.dumps(content))
    assert begun == ["s2", "s2"]
