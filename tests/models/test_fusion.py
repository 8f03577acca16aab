"""Where the modalities meet: a strategy of one's own becomes a network by two entries."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.errors import ConfigError
from afnet_jax.maps import Maps
from afnet_jax.models.afnet import AFNet
from afnet_jax.models.architecture import FUSIONS, VARIANTS, FusionNeeds
from afnet_jax.models.fusion import STRATEGIES, Fusion


class FusionByGates(Fusion):
    """Both trunks go on with the larger features times a learned gate; the layer of logits reads both trunks."""

    @property
    def logits(self):
        return {"joint": tuple(self.trunks)}

    def acts_after(self, stage, block):
        return self.architecture.fuses_after(stage, block)

    def weights(self, channels, *, conv):
        return {"depth": conv(channels, channels, (1, 1), padding=((0, 0), (0, 0)))}

    def exchange(self, x, weights):
        gate = nnx.sigmoid(weights["depth"](x["depth"]))
        return dict.fromkeys(self.trunks, gate * jnp.maximum(x["texture"], x["depth"])), {"gate": gate}

    def decide(self, logits):
        return 2 * super().decide(logits)


@pytest.fixture
def gated(monkeypatch):
    """An architecture that fuses by gates after stages 3 and 4."""
    monkeypatch.setitem(FUSIONS, "gates", FusionNeeds(between_stages=True, hidden_layers=True))
    monkeypatch.setitem(STRATEGIES, "gates", FusionByGates)
    return dataclasses.replace(VARIANTS["s4"], fusion="gates")


def test_every_strategy_is_described_and_computed():
    assert FUSIONS.keys() == STRATEGIES.keys()


@pytest.mark.slow
def test_a_strategy_acts_wherever_it_answers_for_itself(gated):
    model = AFNet(gated, rngs=nnx.Rngs(0))
    draw = np.random.RandomState(0)
    texture = draw.randint(0, 256, (2, 32, 32, 3)).astype(np.uint8)
    depth = draw.uniform(-90, 60, (2, 32, 32, 1)).astype(np.float32)
    unused = np.zeros((2, 8, 8, 1), np.float32), np.zeros((2, 4, 4, 1), np.float32)
    logits, seen = model(Maps(texture, depth, *unused), return_intermediates=True)
    assert {name for name in seen if "gate" in name} == {"gate/layer3_1", "gate/layer4_1"}
    paths = {".".join(map(str, path)) for path, _ in nnx.to_flat_state(nnx.state(model, nnx.Param))}
    assert {path for path in paths if path.startswith("importance_weights")} == {
        f"importance_weights.depth.layer{stage}_1.{name}" for stage in (3, 4) for name in ("kernel", "bias")
    }

    larger = seen["gate/layer4_1"] * np.maximum(seen["features/texture"], seen["features/depth"])
    hidden = []
    for name in ("texture", "depth"):
        x = np.asarray(larger).mean((1, 2))
        for layer in model.head.hidden[name]:
            x = np.maximum(x @ layer.kernel[...] + layer.bias[...], 0)
        hidden.append(x)
    last = model.head.logits["joint"]
    by_hand = 2 * (np.concatenate(hidden, axis=-1) @ last.kernel[...] + last.bias[...])
    np.testing.assert_allclose(logits, by_hand, atol=1e-5)


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"modalities": ("depth",)}, "one modality takes 'none'"),
        ({"fusion_stages": (3,)}, "must hold 4"),
        ({"head_widths": ()}, "model.fusion='gates' fuses after fully-connected layers"),
    ],
)
def test_what_a_strategy_needs_is_checked_by_its_description(gated, fields, names):
    with pytest.raises(ConfigError, match=names):
        dataclasses.replace(gated, **fields)
