"""γ and β of a mask by either platform's form, against two 1×1 convolutions of the mask in C channels."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from afnet_jax.models.convolution import Conv
from afnet_jax.models.mask_attention import ConvolutionGroup

CHANNELS, HIDDEN = 6, 5


def draw_arguments(folds):
    draw = np.random.RandomState(0)
    mask = draw.choice([0.0, 0.0, 0.25, 1.0], (folds, 2, 4, 3, 1))
    mask[:, 1] = draw.rand(folds, 4, 3, 1)
    kernel, bias = draw.randn(folds, CHANNELS, HIDDEN), draw.randn(folds, HIDDEN)
    kernel[:, :, 0] = 0  # a hidden unit that the mask does not move
    kernel[:, :, 1], bias[:, 1] = -1, 0.25 * CHANNELS  # one that ends within the range, where pixels stand: at 0.25
    bias[0, 2:] = 0  # as at the start, where every unit begins at 0, the value of most pixels
    return tuple(
        map(jnp.asarray, (mask, kernel, bias, draw.randn(folds, HIDDEN, CHANNELS), draw.randn(folds, CHANNELS)))
    )


def definition(mask, kernel, bias, out_kernel, out_bias):
    copies = jnp.broadcast_to(mask, (*mask.shape[:-1], CHANNELS))
    return jax.nn.relu(copies @ kernel + bias) @ out_kernel + out_bias


def ours(platform, mask, kernel, bias, out_kernel, out_bias, dtype=None):
    conv = functools.partial(Conv, platform=platform, dtype=dtype, rngs=nnx.Rngs(0))
    group = ConvolutionGroup(CHANNELS, HIDDEN, conv=conv)
    group.conv1.kernel, group.conv1.bias = nnx.Param(kernel[None, None]), nnx.Param(bias)
    group.conv2.kernel, group.conv2.bias = nnx.Param(out_kernel[None, None]), nnx.Param(out_bias)
    return group(mask)


@pytest.mark.slow
@pytest.mark.parametrize("vmapped", [True, False])
@pytest.mark.parametrize("platform", ["cpu", "cuda"])
def test_values_and_gradients_are_those_of_two_convolutions(platform, vmapped):
    with jax.enable_x64(True):
        arguments = draw_arguments(3)
        arguments = arguments if vmapped else tuple(a[0] for a in arguments)
        pulled = []
        for function in (functools.partial(ours, platform), definition):
            mapped = jax.vmap(function) if vmapped else function
            outputs, pull_back = jax.vjp(mapped, *arguments)
            grad = jnp.asarray(np.random.RandomState(1).randn(*outputs.shape))
            pulled.append((outputs, *pull_back(grad)))
        for found, expected in zip(*pulled, strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def relative_errors(platform, arguments, grad, dtype, exact):
    """Of outputs and of the gradients of all weights, by their Euclidean norms."""
    mask, *weights = (jnp.asarray(a[0], dtype if a is arguments[0] else jnp.float32) for a in arguments)
    outputs, pull_back = jax.vjp(lambda *w: ours(platform, mask, *w, dtype=dtype), *weights)
    assert outputs.dtype == dtype
    found = (outputs, *pull_back(jnp.asarray(grad, dtype)))
    return [
        np.linalg.norm(np.asarray(f, np.float64) - e) / np.linalg.norm(e) for f, e in zip(found, exact, strict=True)
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("dtype", "bar"), [(jnp.float32, 3e-7), (jnp.bfloat16, 5e-3)])
def test_rounding_is_no_larger_than_of_the_plain_form(dtype, bar):
    """Beside float64 numbers of the same arguments; bar: what a GPU's form may lose in any case."""
    with jax.enable_x64(True):
        mask, *weights = draw_arguments(1)
        mask = mask.astype(dtype).astype(jnp.float64)
        weights = [w.astype(jnp.float32).astype(jnp.float64) for w in weights]
        grad = jnp.asarray(np.random.RandomState(1).randn(*mask.shape[1:-1], CHANNELS)).astype(dtype)
        outputs, pull_back = jax.vjp(functools.partial(definition, mask[0]), *(w[0] for w in weights))
        exact = [np.asarray(a) for a in (outputs, *pull_back(grad.astype(jnp.float64)))]
    plain, table = (relative_errors(p, (mask, *weights), grad, dtype, exact) for p in ("cpu", "cuda"))
    for theirs, ours_ in zip(plain, table, strict=True):
        assert ours_ < max(bar, 1.5 * theirs)


@pytest.mark.slow
def test_a_gpu_keeps_nothing_of_the_hidden_layer():
    """What its backward pass reads besides the weights is the mask."""
    mask, *weights = (a[0] for a in draw_arguments(1))
    _, pull_back = jax.vjp(functools.partial(ours, "cuda", mask), *weights)
    assert all(leaf.size <= mask.size or leaf.ndim < 4 for leaf in jax.tree.leaves(pull_back))
