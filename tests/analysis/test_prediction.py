import importlib.util
import json
import shutil
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

from afnet_jax.analysis.gradcam import explain
from afnet_jax.analysis.prediction import Face, Prediction, Predictor, predict, read_faces, to_table
from afnet_jax.analysis.run import load_run
from afnet_jax.config import default_config
from afnet_jax.datasets.reduction import stack
from afnet_jax.errors import RunError
from afnet_jax.scans import ScanError, bosphorus
from afnet_jax.scans.scan_files import find_files
from afnet_jax.synthetic import make_scan
from tests.support.finished_run import make_config, repeated, write_run
from tests.support.mesh_files import write_coloured_obj


@pytest.fixture(scope="module")
def predictor(run):
    return Predictor(run)


@pytest.mark.slow
def test_probabilities_are_the_mean_over_the_folds(run, faces, predictor):
    six = jax.tree.map(lambda m: m[:6], faces.maps)
    each = jax.nn.softmax(explain(run, repeated(six)).logits)
    np.testing.assert_allclose(predictor(six), each.mean(0), rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_face_is_the_same_in_any_batch(faces, predictor):
    together = predictor(jax.tree.map(lambda m: m[:20], faces.maps))
    alone = predictor(jax.tree.map(lambda m: m[17:18], faces.maps))
    assert together.shape == (20, 6)
    np.testing.assert_allclose(together[17], alone[0], rtol=1e-4, atol=1e-6)


def test_faults_keep_their_place_and_stop_nobody(faces, predictor):
    stream = [Face(Path(f"{k}.bnt"), str(k), jax.tree.map(lambda m, k=k: m[k], faces.maps)) for k in range(18)]
    stream.insert(1, ScanError("bad.bnt", "broken"))
    outcomes = list(predict(predictor, stream))
    assert isinstance(outcomes[1], ScanError) and len(outcomes) == 19
    assert [o.face.name for o in outcomes if isinstance(o, Prediction)] == [str(k) for k in range(18)]
    line = json.loads(outcomes[0].to_json())
    assert line["expression"] == max(line["probabilities"], key=line["probabilities"].get)
    assert sum(line["probabilities"].values()) == pytest.approx(1)


def test_scans_of_one_name_are_told_apart_in_the_table(faces):
    maps = jax.tree.map(lambda m: m[0], faces.maps)
    paths = [Path("anna/day 1/happy.obj"), Path("bert/happy.obj"), Path("bert/sad.obj")]
    _, *rows = to_table([Prediction(Face(path, path.stem, maps), np.eye(6)[3]) for path in paths]).splitlines()
    assert [row.split("  ")[0] for row in rows] == ["anna/day 1/happy.obj", "bert/happy.obj", "sad"]
    assert len({row.index("happiness") for row in rows}) == 1


def test_a_face_without_colours_is_refused_where_networks_see_the_texture(faces, predictor):
    maps = jax.tree.map(lambda m: m[0], faces.maps)
    stream = [Face(Path("grey.stl"), "grey", maps, coloured=False), Face(Path("a.obj"), "a", maps)]
    refused, predicted = predict(predictor, stream)
    assert isinstance(refused, ScanError) and "grey.stl: the scan has no colours" in str(refused)
    assert isinstance(predicted, Prediction)


def test_maps_of_another_size_are_refused(predictor, faces):
    with pytest.raises(RunError, match="64 x 64"):
        predictor(jax.tree.map(lambda m: m[:1, ::2, ::2], faces.maps))


def test_weights_that_are_not_there(run):
    with pytest.raises(RunError, match="no fold 7"):
        Predictor(run, fold=7)
    with pytest.raises(RunError, match="keep_rounds"):
        Predictor(run, round=1)
    with pytest.raises(RunError, match="no round 5"):
        Predictor(run, round=5)


def test_missing_paths_and_empty_folders(tmp_path):
    found = find_files([tmp_path / "nowhere", tmp_path, __file__])
    assert isinstance(found[0], ScanError) and "no such file" in str(found[0])
    assert isinstance(found[1], ScanError) and "holds no scan" in str(found[1])
    assert found[2] == Path(__file__)  # what it is, its reader will say


def _tool(monkeypatch, *arguments):
    """tools/predict.py within this process; its exit status."""
    path = Path(__file__).parents[2] / "tools" / "predict.py"
    spec = importlib.util.spec_from_file_location("predict_tool", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, "argv", ["predict.py", *map(str, arguments)])
    return module.main()


@pytest.mark.slow
def test_the_command(run_folder, samples, tmp_path, monkeypatch, capsys):
    """Good scans are answered, also without landmarks; one without its picture is named, and the exit status tells."""
    source = sorted((samples / "bosphorus").glob("*/"))[0]
    good, without_landmarks, without_picture = (
        source / f"{source.name}_{kind}_0.bnt" for kind in ("E_HAPPY", "E_ANGER", "N_N")
    )
    for scan, suffixes in ((without_landmarks, (".png", ".bnt")), (without_picture, (".lm3", ".bnt"))):
        for suffix in suffixes:
            shutil.copy(scan.with_suffix(suffix), tmp_path)
    picture = tmp_path / "faces.png"
    arguments = ["--workdir", run_folder, "--json", good, tmp_path, "--picture", picture]
    assert _tool(monkeypatch, *arguments, "--fold", 0) == 1
    output = capsys.readouterr()
    answers = [json.loads(line) for line in output.out.splitlines()]
    assert [answer["scan"] for answer in answers] == [good.stem, without_landmarks.stem]
    assert [answer["landmarks"] for answer in answers] == ["given", "found"]
    warning, *remarks, error = output.err.splitlines()
    assert "synthetic subjects only" in warning
    assert remarks and "no landmark file (.lm3) beside it" in remarks[0]
    assert without_picture.stem in error and "png" in error
    assert picture.stat().st_size > 10_000
    assert _tool(monkeypatch, "--workdir", tmp_path, source) == 1
    assert "no run here" in capsys.readouterr().err


ODD_READER = """
SUFFIXES = (".npy",)


def scan_id(path, database="own"):
    if path.stem == "bad name":
        return path.stem[99]
    from afnet_jax.scans import ScanError, ScanId
    if path.suffix != ".npy":
        raise ScanError(path, "no scan")
    return ScanId(database, "a", "?", None, None, path.stem)


def read_scan(path, database="own"):
    raise ZeroDivisionError("a line\\nand another")
"""


@pytest.fixture
def good(tmp_path) -> Path:
    """A scan that can be predicted."""
    return bosphorus.write_scan(make_scan(0, "HA", None, database="bosphorus", seed=1)[0], tmp_path / "good")


def test_a_file_is_answered_in_one_call(run, predictor, good):
    answered = predictor(str(good))
    with read_faces([good], run.config) as faces:
        (face,) = faces
    np.testing.assert_allclose(answered.probabilities, predictor(stack([face.maps]))[0], rtol=1e-5)
    assert answered.face.path == good and isinstance(answered, Prediction)
    with pytest.raises(ScanError, match="missing"):
        predictor(good.with_name("bs009_E_FEAR_0.bnt"))


@pytest.mark.slow
def test_a_scan_at_which_everything_fails_stops_no_other(run_folder, good, tmp_path, monkeypatch, capsys):
    (tmp_path / "reader.py").write_text(ODD_READER)
    (tmp_path / "odd").mkdir()
    for name in ("bad name.npy", "odd.npy", "._odd.npy"):
        (tmp_path / "odd" / name).touch()
    scans = (tmp_path / "odd", good)
    arguments = ["--workdir", run_folder, "--json", "--fold", 0, "--reader", tmp_path / "reader.py", *scans]
    assert _tool(monkeypatch, *arguments) == 1
    output = capsys.readouterr()
    assert [json.loads(line)["scan"] for line in output.out.splitlines()] == [good.stem]
    first, second = (line for line in output.err.splitlines() if line.startswith("error"))
    assert "the reader's scan_id fails on this name: IndexError: string index out of range" in first
    assert "odd.npy: the reader fails on it: ZeroDivisionError: a line and another" in second


def test_an_exception_of_preprocessing_is_that_scans_fault(good, monkeypatch):
    def fails(scan):
        raise ZeroDivisionError("division by zero")

    monkeypatch.setattr("afnet_jax.analysis.prediction.preprocess", fails)
    with read_faces([good], default_config()) as faces:
        (outcome,) = faces
    assert isinstance(outcome, ScanError) and "unexpected ZeroDivisionError: division by zero" in str(outcome)


def test_what_is_not_begun_when_a_fault_ends_it_never_is(monkeypatch):
    made = []

    def slowly(path, *_):
        time.sleep(0.05)
        made.append(path)

    monkeypatch.setattr("afnet_jax.analysis.prediction._read_face", slowly)
    with pytest.raises(RunError), read_faces([Path(str(k)) for k in range(1000)], default_config()):
        raise RunError("no such fold")
    assert len(made) < 100


@pytest.mark.slow
def test_the_model_of_a_run_tests_mirror_images_as_the_run_does(tmp_path, faces):
    run = load_run(write_run(tmp_path, faces, make_config(**{"model.mirror": True}), weights=True))
    few = jax.tree.map(lambda m: m[:4], faces.maps)
    found = jax.nn.softmax(run.model(round=0, fold=1)(*jax.tree.leaves(few)))
    np.testing.assert_allclose(found, Predictor(run, fold=1)(few), atol=1e-5)


@pytest.mark.slow
def test_progress_of_the_command_is_on_stderr(run_folder, good, monkeypatch, capsys):
    monkeypatch.setattr("afnet_jax.analysis.countdown._SECONDS_BETWEEN_LINES", 0)
    missing = good.with_name("missing" + good.suffix)
    assert _tool(monkeypatch, "--workdir", run_folder, "--json", good, missing) == 1
    printed = capsys.readouterr()
    assert "scans: 1 of 2" in printed.err and "scans: 1 of 2" not in printed.out


def test_what_a_reader_noticed_stands_beside_the_fault(tmp_path, run):
    """The landmarks' names are in capitals, so that none is used and the pose is missing them."""
    path = tmp_path / "face.obj"
    write_coloured_obj(path, make_scan(0, "HA", 3, database="bu3dfe", seed=5)[0])
    places = json.loads(path.with_name("face.landmarks.json").read_text())
    path.with_name("face.landmarks.json").write_text(json.dumps({name.upper(): at for name, at in places.items()}))
    with read_faces([path], run.config) as faces:
        (fault,) = faces
    assert "found 0: none (noticed when it was read: landmarks of names that nothing uses" in str(fault)


def test_a_picture_of_a_scan_is_not_written_over(run_folder, good, monkeypatch, capsys):
    before = good.with_suffix(".png").read_bytes()
    assert _tool(monkeypatch, "--workdir", run_folder, good, "--picture", good.with_suffix(".png")) == 1
    assert "would be lost; write to another file" in capsys.readouterr().err
    assert good.with_suffix(".png").read_bytes() == before
