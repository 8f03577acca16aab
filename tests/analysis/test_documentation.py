"""The code in docs/analysis.md runs as it stands there."""

import re
from pathlib import Path

import pytest

from tests.support.finished_run import make_config, write_run

PAGE = Path(__file__).parents[2] / "docs" / "analysis.md"


@pytest.mark.slow
def test_the_pages_code_runs(run_folder, faces, tmp_path, monkeypatch, capsys):
    pytest.importorskip("pandas")
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "afnet").symlink_to(run_folder)
    write_run(tmp_path / "runs" / "no_ma", faces, make_config("no_ma"), seed=2)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("afnet_jax.datasets.loading.load", lambda *_: faces)
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    assert names["t_iw"].shape == (2, 1, 1, 256) and names["gamma"].shape == (2, 16, 16, 64)
    assert names["heat"].shape == (64, 64) and names["probabilities"].shape == (5, 6)
    assert names["logits"].shape == (2, 6) and len(names["table"]) == 72
    assert "points, p = " in capsys.readouterr().out
