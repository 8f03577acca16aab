"""Grad-CAM beside PyTorch's autograd, on the same weights."""

import jax
import numpy as np
import pytest

from afnet_jax.analysis.gradcam import enlarge, explain, stage_of
from afnet_jax.errors import RunError
from tests.support import named_values
from tests.support.finished_run import fold_labels, fold_maps


@pytest.fixture(scope="module")
def explanation(run, faces):
    return explain(run, fold_maps(faces), classes=fold_labels(faces))


def _pytorch(params, batch_stats, maps, classes, stage):
    """Logits and heat maps of one fold by hooks on what the PyTorch reference makes of a stage."""
    torch = pytest.importorskip("torch")
    from tests.support.pytorch_reference import Reference

    torch.set_num_threads(1)
    model = Reference("afnet").eval()
    ours = {}
    for part in (params, batch_stats):
        for path, leaf in jax.tree_util.tree_leaves_with_path(part):
            ours[jax.tree_util.keystr(path, simple=True, separator=".")] = leaf
    state = model.state_dict()
    for name in state:
        if (mine := named_values.from_reference(name)) is not None:
            value = np.asarray(ours[mine])
            value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T if value.ndim == 2 else value
            state[name] = torch.tensor(np.ascontiguousarray(value))
    model.load_state_dict(state)
    caught = {}
    for name in ("t", "d"):
        last = model.ma[f"{name}{stage}"] if stage < 3 else getattr(model.trunk[name], f"layer{stage}")
        last.register_forward_hook(lambda _, __, out, name=name: caught.__setitem__(name, out))
    logits = model(*(torch.tensor(np.asarray(m, np.float32)) for m in jax.tree.leaves(maps)))
    score = logits[torch.arange(len(logits)), torch.tensor(classes).long()].sum()
    heat = {}
    for ours_name, name in (("texture", "t"), ("depth", "d")):
        (gradient,) = torch.autograd.grad(score, caught[name], retain_graph=True)
        weights = gradient.mean((2, 3), keepdim=True)
        heat[ours_name] = torch.relu((weights * caught[name]).sum(1)).detach().numpy()
    return logits.detach().numpy(), heat


@pytest.mark.slow
@pytest.mark.parametrize(("fold", "stage"), [(0, 2), (1, 2), (1, 4), (0, 1)])
def test_heat_maps_and_logits_are_pytorchs(run, faces, fold, stage):
    pytest.importorskip("torch")
    explanation = explain(run, fold_maps(faces), classes=fold_labels(faces), stage=stage)
    params, batch_stats = run.stacked_weights(0, [fold])
    maps = jax.tree.map(lambda a: a[fold], fold_maps(faces))
    logits, heat = _pytorch(*jax.tree.map(lambda a: a[0], (params, batch_stats)), maps, fold_labels(faces)[fold], stage)
    np.testing.assert_allclose(explanation.logits[fold], logits, rtol=1e-3, atol=1e-3 * np.abs(logits).max())
    for name, expected in heat.items():
        assert expected.max() > 0
        np.testing.assert_allclose(explanation.heat[name][fold], expected, rtol=1e-3, atol=1e-3 * expected.max())


@pytest.mark.slow
def test_the_features_of_a_heat_map_have_as_many_pixels_as_the_papers(run, faces, explanation):
    """Fig. 6 looks at 7 × 7 pixels after Layer4 of images of 224; an image of 64 has 8 × 8 after Layer2."""
    assert [stage_of(size) for size in (224, 192, 128, 112, 96, 64, 32)] == [4, 3, 3, 3, 2, 2, 1]
    assert explanation.heat["texture"].shape == (2, 3, 8, 8)
    same = explain(run, fold_maps(faces), classes=fold_labels(faces), stage=2)
    np.testing.assert_array_equal(explanation.heat["depth"], same.heat["depth"])
    np.testing.assert_allclose(explain(run, fold_maps(faces), stage=4).logits, same.logits, rtol=1e-3, atol=1e-4)


@pytest.mark.slow
def test_the_predicted_class_is_explained_by_default(run, faces, explanation):
    maps = fold_maps(faces)
    found = explain(run, maps)
    expected = explain(run, maps, classes=explanation.logits.argmax(-1))
    np.testing.assert_array_equal(found.heat["texture"], expected.heat["texture"])


@pytest.mark.slow
def test_importance_weights_are_the_networks(run, faces, explanation):
    maps = jax.tree.map(lambda a: a[1], fold_maps(faces))
    seen = run.intermediates(maps, round=0, fold=1)
    assert set(explanation.importance) == {f"{t}/layer{s}_1" for t in ("texture", "depth") for s in (3, 4)}
    for key, weights in explanation.importance.items():
        assert ((weights >= 0) & (weights <= 1)).all() and weights.std() > 0.05
        np.testing.assert_allclose(weights[1], seen[f"importance/{key}"][:, 0, 0], atol=1e-4)
    np.testing.assert_allclose(seen["logits"], explanation.logits[1], rtol=1e-3, atol=1e-3)
    assert seen["gamma/texture/layer1_1"].shape == (3, 16, 16, 64)
    assert seen["beta/depth/layer2_1"].shape == (3, 8, 8, 128)


def test_maps_of_another_size_are_refused(run, faces):
    maps = fold_maps(faces)
    with pytest.raises(RunError, match="64 x 64 pixels"):
        explain(run, maps._replace(texture=maps.texture[:, :, ::2, ::2]))


def test_enlarged_heat_keeps_its_place_and_peaks_at_one():
    heat = np.zeros((2, 2), np.float32)
    heat[0, 1] = 7
    large = enlarge(heat, 64)
    assert large.shape == (64, 64) and large.max() == 1 and large.min() == 0
    row, col = np.unravel_index(large.argmax(), large.shape)
    assert row < 32 <= col
