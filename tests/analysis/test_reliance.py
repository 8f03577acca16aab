"""What networks rest on, beside a network that is known to look at one input alone."""

import dataclasses

import jax
import numpy as np
import pytest

from afnet_jax.analysis import load_run
from afnet_jax.analysis.reliance import UNCHANGED, exchanged, inputs_of, rests_on, told
from afnet_jax.analysis.run import Run
from afnet_jax.commands.compare import main
from afnet_jax.errors import RunError
from tests.support.finished_run import make_config, write_run


class _ByOneMap:
    """Tells the expression that the first pixel of one map holds, in place of a network."""

    def __init__(self, name: str):
        self._name = name

    def logits(self, params, batch_stats, maps):
        return jax.nn.one_hot(getattr(maps, self._name)[:, 0, 0, 0].astype(int), 6)


@pytest.fixture(scope="module")
def telling(faces):
    """The scans, with the expression written into the first pixel of each map."""
    maps = jax.tree.map(np.array, faces.maps)
    for each in (maps.texture, maps.depth, maps.mask1, maps.mask2):
        each[:, 0, 0, 0] = faces.labels
    return dataclasses.replace(faces, maps=maps)


@pytest.mark.parametrize(
    ("name", "groups"),
    [("depth", ("depth", "all images")), ("texture", ("texture", "all images")), ("mask2", ("masks",))],
)
def test_only_what_a_network_looks_at_costs_accuracy(run_folder, telling, monkeypatch, name, groups):
    run = load_run(run_folder)
    monkeypatch.setattr(Run, "network", _ByOneMap(name))
    found = rests_on(run, telling)
    assert set(found) == {UNCHANGED, "texture", "depth", "all images", "masks"}
    for group, accuracy in found.items():
        if group in groups:  # some of the scans get the map of one with the same expression, or their own
            assert accuracy < 0.5, group
        else:
            assert accuracy == 1, group
    assert "100.0 % become " in told(found) and f"{100 * found[groups[0]]:.1f} % ({groups[0]})" in told(found)


def test_the_networks_own_accuracy_is_that_of_their_logits(run, faces):
    found = rests_on(run, faces)
    right = []
    for fold in run.splits:
        if fold.round == 0:
            tested = np.isin(faces.subjects, fold.test)
            maps = jax.tree.map(lambda column, tested=tested: column[tested], faces.maps)
            logits = run.intermediates(maps, round=0, fold=fold.fold)["logits"]
            right.append(logits.argmax(-1) == faces.labels[tested])
    assert found[UNCHANGED] == pytest.approx(np.concatenate(right).mean())


def test_exchanging_leaves_the_other_maps(faces):
    order = np.arange(len(faces.labels))[::-1]
    changed = exchanged(faces.maps, inputs_of(("texture", "depth"))["masks"], order)
    np.testing.assert_array_equal(changed.mask1, faces.maps.mask1[::-1])
    np.testing.assert_array_equal(changed.mask2, faces.maps.mask2[::-1])
    assert changed.texture is faces.maps.texture and changed.depth is faces.maps.depth
    assert set(inputs_of(("depth",))) == {"depth", "masks"}


def test_weights_that_are_not_there_are_told(tmp_path, faces):
    bare = load_run(write_run(tmp_path / "run", faces, make_config()))
    with pytest.raises(RunError, match="are not stored"):
        rests_on(bare, faces)


def test_the_command_tells_it_and_shows_it_in_the_report(tmp_path, faces, call, monkeypatch):
    folder = write_run(tmp_path, faces, make_config(), weights=True)
    monkeypatch.setattr("afnet_jax.datasets.loading.load", lambda *_: faces)
    done = call(main, f"--workdir={folder}")
    found = load_run(folder).baselines["rests_on"]
    assert done.returncode == 0 and done.stdout.splitlines()[-1] == told(found)
    page = (folder / "report.html").read_text().replace("&#x27;", "'").replace("\N{NO-BREAK SPACE}", " ")
    assert told(found) in page
