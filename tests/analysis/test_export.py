import json
import shutil

import jax
import jax.export
import numpy as np
import pytest
from safetensors.numpy import load_file

from afnet_jax.analysis.export import export_model
from afnet_jax.analysis.gradcam import explain
from afnet_jax.analysis.run import load_run
from afnet_jax.errors import RunError
from tests.support.finished_run import repeated


def _load(folder, monkeypatch):
    """As the description's "usage" says: by jax.export and safetensors alone."""
    description = json.loads((folder / "model.json").read_text())
    *preparation, _ = description["usage"]
    names = {}
    with monkeypatch.context() as patch:
        patch.chdir(folder)
        exec("\n".join(preparation), names)
    return names["program"], names["weights"], description


@pytest.mark.slow
def test_the_mean_of_the_folds_for_any_number_of_faces(run, faces, tmp_path, monkeypatch):
    program, weights, description = _load(export_model(run, tmp_path), monkeypatch)
    assert len({file.stat().st_mode for file in tmp_path.iterdir()}) == 1  # as others may read one, so all
    call = jax.jit(program.call)
    leaves = jax.tree.leaves(faces.maps)
    six = jax.tree.map(lambda m: m[:6], faces.maps)
    expected = jax.nn.softmax(explain(run, repeated(six)).logits).mean(0)
    found = call(weights, *jax.tree.leaves(six))
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.sum(found, -1), 1, rtol=1e-5)
    assert [tuple(one["shape"][1:]) for one in description["inputs"]] == [
        m.shape[1:] for m in jax.tree.leaves(faces.maps)
    ]
    assert [one["dtype"] for one in description["inputs"]] == [str(m.dtype) for m in leaves]
    assert program.in_avals[-4].shape[0] != 6  # a symbol, not a number


@pytest.mark.slow
def test_one_fold(run, tmp_path, monkeypatch):
    _, weights, description = _load(export_model(run, tmp_path, fold=1), monkeypatch)
    kernel = weights["params.trunks.depth.conv1.kernel"]
    np.testing.assert_array_equal(kernel[0], run.params(0)["trunks"]["depth"]["conv1"]["kernel"][1])
    assert description["folds"] == [1] and len(kernel) == 1
    assert set(description["weights"]) == set(load_file(tmp_path / "model.safetensors"))
    assert description["accuracy"] == pytest.approx(run.summary["accuracy"]["mean"])


def test_a_run_without_its_summary_writes_nothing(run_folder, tmp_path):
    folder = tmp_path / "unfinished"
    shutil.copytree(run_folder, folder)
    (folder / "summary.json").unlink()
    with pytest.raises(RunError, match=r"summary\.json"):
        export_model(load_run(folder), tmp_path / "out")
    assert not (tmp_path / "out").exists()
