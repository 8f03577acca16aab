"""docs/tour.ipynb runs from its first cell to its last, and keeps its outputs."""

import json

import pytest

from benchmarks import tour

CELLS = json.loads(tour.NOTEBOOK.read_text(encoding="utf-8"))["cells"]


def test_the_outputs_are_kept_and_small():
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1))
    assert sum(bool(cell["outputs"]) for cell in code) >= len(code) - 1
    assert not [out for cell in code for out in cell["outputs"] if out["output_type"] == "error"]
    assert tour.NOTEBOOK.stat().st_size < 500_000
    assert "/tmp" not in json.dumps([cell["outputs"] for cell in code])


@pytest.mark.slow
def test_it_runs(tmp_path, monkeypatch):
    """With few subjects and short trainings: what the cells do is tried, not how much is learned."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))  # where the notebook's own folder goes, and with it when all is well
    tour.execute(tmp_path / "tour.ipynb", small=True)
    ran = json.loads((tmp_path / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    changed = [line for old, new in zip(CELLS, ran, strict=True) for line in set(new["source"]) ^ set(old["source"])]
    assert sorted(map(str.strip, changed)) == [
        "config.dataset.synthetic_subjects = 12",
        "config.dataset.synthetic_subjects = 4",
        "config.protocol.folds = 2",
        "config.protocol.folds = 3",
        "config.train.epochs = 15",
        "config.train.epochs = 2",
    ]
    assert not [cell for cell in ran for out in cell.get("outputs", ()) if out["output_type"] == "error"]
