"""A run that starts from the weights of another: what it takes, what its record says, and whom it has met before."""

import json
import logging
import re

import jax
import numpy as np
import pytest
from safetensors.numpy import save_file

from afnet_jax.analysis import load_run
from afnet_jax.errors import RunError, WeightsError
from afnet_jax.models.network import Network
from afnet_jax.models.starting_weights import flatten, load_weights, save_weights, weights_of
from afnet_jax.protocol import Fold
from afnet_jax.recipes import shipped_config
from afnet_jax.runs.folder import RunFolder
from afnet_jax.runs.start import identity, load_start, seen_before
from tests.support import finished_run, small_training

DATASET = {"name": "synthetic", "synthetic_seed": 0, "synthetic_variety": "default"}


@pytest.fixture(scope="module")
def texture():
    """(params, batch_stats) of a network of texture alone."""
    settings = small_training.make_config().model
    return jax.jit(Network(settings).init)(jax.random.key(5))


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    """A finished run of the variant texture, with its weights."""
    config = finished_run.make_config("texture")
    return finished_run.write_run(
        tmp_path_factory.mktemp("old") / "run", finished_run.make_faces(), config, weights=True
    )


def _weights(parts, **record):
    return weights_of(*parts, "somewhere", record)


@pytest.mark.slow
def test_a_network_of_the_same_kind_takes_everything(texture):
    settings = small_training.make_config().model
    params, stats = Network(settings, _weights(texture)).init(jax.random.key(0))
    for mine, theirs in zip(jax.tree.leaves((params, stats)), jax.tree.leaves(texture), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    fit = _weights(texture).fit(params, stats)
    assert fit.taken == fit.wanted and not fit.fresh and not fit.unused


@pytest.mark.slow
def test_another_variant_takes_what_fits(texture):
    settings = finished_run.make_config("afnet").model
    fresh = flatten(*Network(settings).init(jax.random.key(0)))
    started = flatten(*Network(settings, _weights(texture)).init(jax.random.key(0)))
    learned = flatten(*texture)
    taken = {name for name in fresh if name in learned and fresh[name].shape == learned[name].shape}
    assert {name.split(".")[2] for name in taken if "trunks" in name} == {"texture"}
    for name, leaf in started.items():
        np.testing.assert_array_equal(leaf, learned[name] if name in taken else fresh[name], err_msg=name)
    told = str(_weights(texture).fit(*Network(settings).init(jax.random.key(0))))
    assert "trunks.depth" in told and "importance_weights" in told and "trunks.texture" not in told


@pytest.mark.slow
def test_weights_of_nothing_in_common_are_refused(texture):
    strange = weights_of({"other": {"kernel": np.ones(3)}}, {}, "other.safetensors", {})
    with pytest.raises(WeightsError, match="none fits this network; expected paths such as"):
        strange.fit(*texture)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_file_gives_back_what_was_written(texture, tmp_path, dtype):
    weights = _weights(texture, dataset=DATASET, train=["a"], test=["b"])
    digest = save_weights(weights, tmp_path / "weights.safetensors", dtype)
    loaded = load_weights(tmp_path / "weights.safetensors")
    assert (
        loaded.sha256 == digest and loaded.record["train"] == ["a"] and loaded.tensors.keys() == weights.tensors.keys()
    )
    for name, tensor in weights.tensors.items():
        tolerance = 0 if dtype == "float32" or name.startswith("batch_stats") else 2**-8
        np.testing.assert_allclose(loaded.tensors[name], tensor, rtol=tolerance, err_msg=name)


def test_a_damaged_file_is_told_in_one_line(tmp_path):
    path = tmp_path / "weights.safetensors"
    path.write_bytes(b"no weights")
    with pytest.raises(WeightsError, match=r"weights\.safetensors: expected a whole safetensors file"):
        load_weights(path)
    with pytest.raises(WeightsError, match=r"expected a finished run's folder.* found nothing there"):
        load_start(str(tmp_path / "nowhere"))
    path.rename(tmp_path / "weights.pth")
    with pytest.raises(WeightsError, match=r"expected a finished run's folder.* found a file that is none of these"):
        load_start(str(tmp_path / "weights.pth"))


def test_fine_tuning_without_weights_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"config\.model\.start_from=WEIGHTS: expected a finished run's folder"):
        load_start(shipped_config("finetune").model.start_from)


@pytest.mark.parametrize(
    "record",
    [
        "null",
        "[1]",
        '{"dataset": "bu3dfe", "train": [], "test": []}',
        '{"dataset": {"name": "bu3dfe"}, "train": ["F1"]}',
        '{"dataset": {"name": "bu3dfe"}, "train": 5, "test": [[]]}',
        '{"earlier": null}',
    ],
)
def test_a_record_that_does_not_tell_whom_is_refused(tmp_path, record):
    """Whoever starts from such weights would not learn of a leak, or see a traceback."""
    path = tmp_path / "WEIGHTS.SAFETENSORS"
    save_file({"params.head.bias": np.zeros(6, np.float32)}, path, {"afnet_jax": record})
    with pytest.raises(WeightsError, match=r"WEIGHTS.* record of whom it was trained on .* is damaged"):
        load_start(str(path))


def test_a_run_gives_the_network_that_is_named(old):
    stacked = flatten(*load_run(old).stacked_weights(0))
    for source, row in ((f"{old}", 0), (f"{old}:0", 0), (f"{old}:0:1", 1)):
        weights = load_start(source)
        for name, tensor in weights.tensors.items():
            np.testing.assert_array_equal(tensor, stacked[name][row], err_msg=name)
    assert list(weights.record["test"]) == json.loads((old / "splits.json").read_text())["rounds"][0][1]["test"]
    with pytest.raises(RunError, match="weights of round 1 fold 0 are not stored"):
        load_start(f"{old}:1")
    with pytest.raises(RunError, match="no round 0 fold 7"):
        load_start(f"{old}:0:7")


FOLDS = (Fold(0, 0, ("F1", "F2"), ("F3",)), Fold(0, 1, ("F3",), ("F1", "F2")))


@pytest.mark.parametrize(
    ("record", "told"),
    [
        ({"dataset": DATASET, "train": ["F1", "F9"], "test": ["F8"]}, ["LEAK: .* 1 subjects .F1."]),
        ({"dataset": DATASET, "train": ["F9"], "test": ["F3"]}, ["was tested on 1 subjects .F3."]),
        ({"dataset": DATASET, "train": ["F2"], "test": ["F3"]}, ["LEAK", "was tested on"]),
        ({"dataset": {**DATASET, "synthetic_seed": 7}, "train": ["F1"], "test": ["F3"]}, []),
        ({"dataset": {"name": "bosphorus"}, "train": ["F1"], "test": ["F3"]}, []),
        ({}, ["does not tell whom"]),
        (
            {
                "dataset": {"name": "bosphorus"},
                "train": [],
                "test": [],
                "earlier": {"dataset": DATASET, "train": ["F1"], "test": []},
            },
            ["LEAK"],
        ),
        ({"dataset": {"name": "bosphorus"}, "train": [], "test": [], "earlier": {}}, ["does not tell whom"]),
    ],
)
def test_people_who_were_met_before_are_named(texture, record, told):
    """The same id is the same person in the same database, and of synthetic ones from the same seed, alone."""
    lines = seen_before(_weights(texture, **record), DATASET, FOLDS)
    assert len(lines) == len(told) and all(re.search(*pair) for pair in zip(told, lines, strict=True))


@pytest.mark.slow
def test_a_run_starts_so_resumes_and_keeps_a_record(old, tmp_path, caplog):
    faces = small_training.make_faces()
    config = small_training.make_config(**{"model.start_from": f"{old}:0:1"})
    with caplog.at_level(logging.WARNING):
        small_training.train_and_evaluate(config, tmp_path / "whole", faces)
    record = json.loads((tmp_path / "whole" / "environment.json").read_text())["start_from"]
    assert record["sha256"] == load_start(f"{old}:0:1").sha256 and record["taken"] == record["wanted"]
    assert record["record"]["train"] and record["record"]["dataset"] == identity(config.dataset)
    assert any("LEAK" in line for line in record["seen_before"]) == any("LEAK" in m for m in caplog.messages)
    small_training.stop_at(faces, tmp_path / "broken", 3, **{"model.start_from": f"{old}:0:1"})
    small_training.train_and_evaluate(config, tmp_path / "broken", faces)
    whole, broken = (dict(np.load(tmp_path / name / "predictions.npz")) for name in ("whole", "broken"))
    np.testing.assert_array_equal(whole["logits"], broken["logits"])


def test_other_weights_are_another_run(tmp_path):
    config = small_training.make_config(**{"model.start_from": "weights.safetensors"})
    with RunFolder(tmp_path) as folder:
        folder.start(config, FOLDS, "digest", {"source": "weights.safetensors", "sha256": "one"})
        folder.start(config, FOLDS, "digest", {"source": "weights.safetensors", "sha256": "one"})
        folder.start(config, FOLDS, "digest")  # evaluating, which starts nothing
        with pytest.raises(RunError, match=r"starting weights .* was .one. and is .two."):
            folder.start(config, FOLDS, "digest", {"source": "weights.safetensors", "sha256": "two"})
