"""The trunk against transformers' ResNet-18, with random weights ported as published ones would be."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.models.batch_norm import BatchNorm
from afnet_jax.models.convolution import Conv
from afnet_jax.models.resnet import ResNet18
from afnet_jax.models.weight_files import read_weights


@pytest.mark.slow
def test_trunk_is_transformers_resnet18(tmp_path):
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    safetensors = pytest.importorskip("safetensors.torch")
    torch.manual_seed(0)
    config = transformers.ResNetConfig(
        embedding_size=64, hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2], layer_type="basic"
    )
    theirs = transformers.ResNetModel(config).eval()
    for name, buffer in theirs.named_buffers():
        if name.endswith("running_mean"):
            buffer.normal_(std=0.2)
        elif name.endswith("running_var"):
            buffer.uniform_(0.5, 2)
    safetensors.save_file(theirs.state_dict(), tmp_path / "model.safetensors")

    trunk = nnx.eval_shape(lambda: ResNet18(conv=functools.partial(Conv, rngs=nnx.Rngs(0)), norm=BatchNorm))
    tensors = read_weights(tmp_path / "model.safetensors")
    graph, state = nnx.split(trunk)
    leaves = {
        path: leaf.replace(jnp.asarray(tensors[".".join(map(str, path))])) for path, leaf in nnx.to_flat_state(state)
    }
    trunk = nnx.merge(graph, nnx.from_flat_state(leaves.items()))
    image = np.random.RandomState(0).randn(1, 64, 96, 3).astype(np.float32)

    x = trunk.stem(image, train=False)
    for stage in (1, 2, 3, 4):
        for block in (0, 1):
            x = trunk.block(x, stage, block, train=False)
    with torch.no_grad():
        expected = theirs(torch.from_numpy(image.transpose(0, 3, 1, 2))).last_hidden_state.numpy().transpose(0, 2, 3, 1)
    assert np.linalg.norm(x - expected) < 1e-5 * np.linalg.norm(expected)
    assert jax.tree.all(jax.tree.map(lambda leaf: leaf.dtype == jnp.float32, nnx.state(trunk)))
