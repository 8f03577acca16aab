"""The code in docs/analysis.md and in README runs as it stands there."""

import re
from pathlib import Path

import pytest

from afnet_jax.scans.scan import EXPRESSIONS
from afnet_jax.synthetic import write_people
from tests.support.finished_run import make_config, write_run

README = Path(__file__).parents[2] / "README.md"
PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"


@pytest.mark.slow
def test_the_pages_code_runs(run_folder, faces, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "synthetic").symlink_to(run_folder)
    write_run(tmp_path / "runs" / "synthetic_no_ma", faces, make_config("no_ma"), seed=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("afnet_jax.datasets.loading.load", lambda *_: faces)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["t_iw"].shape == (2, 1, 1, 256) and names["gamma"].shape == (2, 16, 16, 64)
    assert names["heat"].shape == (64, 64) and names["probabilities"].shape == (5, 6)
    assert names["logits"].shape == (2, 6) and len(names["table"]) == 72
    assert "points, p = " in capsys.readouterr().out


@pytest.mark.slow
def test_the_code_of_readme_runs(run_folder, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("runs").mkdir()
    Path("runs/synthetic").symlink_to(run_folder)
    write_people(tmp_path / "people", database="bu3dfe", subjects=1, seed=1, levels=(4,), workers=1)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL):
        exec(compile(block, str(README), "exec"), names)
    assert capsys.readouterr().out.strip() in EXPRESSIONS
    assert names["maps"].texture.shape == (224, 224, 3) and names["params"]
