"""Every lowering against the library's convolution, value and both gradients, with one set of weights and with many."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from afnet_jax.models.convolution import LOWERINGS, Conv, convolve, lowering

GEOMETRIES = {
    "stem": ((20, 20, 3), (7, 7), 8, 2, 3),
    "3x3": ((8, 8, 5), (3, 3), 7, 1, 1),
    "3x3 strided": ((8, 8, 5), (3, 3), 7, 2, 1),
    "3x3 on 2x2 pixels": ((2, 2, 6), (3, 3), 4, 1, 1),
    "3x3 on one pixel": ((1, 1, 6), (3, 3), 4, 1, 1),
    "3x3 from 5x3 pixels": ((5, 3, 6), (3, 3), 4, 2, 1),
    "1x1": ((6, 6, 5), (1, 1), 4, 1, 0),
    "1x1 strided": ((6, 6, 5), (1, 1), 4, 2, 0),
}
FOLDS = 3


def _problem(name):
    (height, width, channels), window, features, stride, pad = GEOMETRIES[name]
    rng = np.random.default_rng(0)
    inputs = jnp.asarray(rng.normal(size=(FOLDS, 2, height, width, channels)), jnp.float32)
    kernel = jnp.asarray(rng.normal(size=(FOLDS, *window, channels, features)), jnp.float32)
    return inputs, kernel, (stride, stride), ((pad, pad), (pad, pad))


def _loss(function, strides, padding):
    return lambda x, w: jnp.sum(jnp.sin(function(x, w, strides, padding)))


def _library(x, w, strides, padding):
    return lax.conv_general_dilated(
        x, w, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"), precision="highest"
    )


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES)
@pytest.mark.parametrize("name", LOWERINGS)
def test_lowerings_agree_with_the_library_fold_by_fold(name, geometry):
    inputs, kernel, strides, padding = _problem(geometry)
    with lowering(name):
        value, gradients = jax.jit(jax.vmap(jax.value_and_grad(_loss(convolve, strides, padding), (0, 1))))(
            inputs, kernel
        )
    for fold in range(FOLDS):
        expected, expected_gradients = jax.value_and_grad(_loss(_library, strides, padding), (0, 1))(
            inputs[fold], kernel[fold]
        )
        np.testing.assert_allclose(value[fold], expected, rtol=1e-4, atol=1e-4)
        for got, want in zip(gradients, expected_gradients, strict=True):
            np.testing.assert_allclose(got[fold], want, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_one_set_of_weights(geometry):
    inputs, kernel, strides, padding = _problem(geometry)
    got = convolve(inputs[0], kernel[0], strides, padding)
    np.testing.assert_allclose(got, _library(inputs[0], kernel[0], strides, padding), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("scans", "edge", "window", "stride"), [(5, 20, 3, 1), (3, 41, 3, 2), (2, 66, 3, 1), (2, 90, 7, 2), (3, 5, 3, 1)]
)
def test_a_kernel_gradient_taken_in_parts_is_the_whole(scans, edge, window, stride):
    """Scans of fewer and of more pixels than a part may have, also of uneven numbers; in float64 by its definition."""
    pad, rng = window // 2, np.random.default_rng(0)
    inputs, kernel = rng.normal(size=(scans, edge, edge, 3)), rng.normal(size=(window, window, 3, 4))
    padding = ((pad, pad), (pad, pad))
    outputs, pull_back = jax.vjp(
        lambda w: convolve(jnp.asarray(inputs, jnp.float32), w, (stride, stride), padding),
        jnp.asarray(kernel, jnp.float32),
    )
    cotangent = rng.normal(size=outputs.shape)
    (found,) = pull_back(jnp.asarray(cotangent, jnp.float32))
    padded = np.pad(inputs, ((0, 0), *padding, (0, 0)))
    reach = stride * (outputs.shape[1] - 1) + 1
    expected = [
        [
            np.einsum("nhwc,nhwo->co", padded[:, i : i + reach : stride, j : j + reach : stride], cotangent)
            for j in range(window)
        ]
        for i in range(window)
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.sqrt(scans * outputs.shape[1] ** 2))


def test_weights_shared_by_all_folds():
    inputs, kernel, strides, padding = _problem("3x3")
    got = jax.vmap(lambda x: convolve(x, kernel[0], strides, padding))(inputs)
    np.testing.assert_allclose(got[2], _library(inputs[2], kernel[0], strides, padding), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_layer_is_an_nnx_conv():
    layer = Conv(3, 4, (3, 3), strides=2, padding=1, rngs=nnx.Rngs(0))
    assert layer(jnp.ones((2, 8, 8, 3))).shape == (2, 4, 4, 4)


def test_unknown_lowering_is_named():
    with pytest.raises(ValueError, match="winograd"), lowering("winograd"):
        pass


def test_dilated_convolutions_are_refused():
    layer = Conv(3, 4, (3, 3), kernel_dilation=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="dilated"):
        layer(jnp.ones((2, 8, 8, 3)))
