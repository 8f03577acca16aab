"""gridfit against pygridfit's results, against dense least squares, and against surfaces it must reproduce."""

import warnings
from pathlib import Path

import numpy as np
import pytest

from afnet_jax.preprocessing import gridfit
from tests.preprocessing.golden.cases import CASES, face_case, small_case

GOLDEN = np.load(Path(__file__).parent / "golden" / "gridfit.npz")
KINDS = [(a, b) for a in ("triangle", "bilinear") for b in ("gradient", "laplacian")]


@pytest.mark.parametrize(("name", "interpolation", "regularizer", "smoothness"), CASES)
def test_agrees_with_pygridfit(name, interpolation, regularizer, smoothness):
    make, every = (face_case, 8) if name == "face" else (small_case, 1)
    heights = gridfit(*make(), smoothness, interpolation=interpolation, regularizer=regularizer)
    expected = GOLDEN[f"{name}_{interpolation}_{regularizer}_{np.size(smoothness)}"]
    np.testing.assert_allclose(heights[::every, ::every], expected, rtol=0, atol=1e-6)


def dense_gridfit(x, y, z, xnodes, ynodes, smoothness, interpolation, regularizer):
    """The definition, point by point and row by row."""
    nx, ny = len(xnodes), len(ynodes)
    data = np.zeros((len(x), ny, nx))
    for k in range(len(x)):
        i = min(np.searchsorted(xnodes, x[k], "right") - 1, nx - 2)
        j = min(np.searchsorted(ynodes, y[k], "right") - 1, ny - 2)
        tx = (x[k] - xnodes[i]) / (xnodes[i + 1] - xnodes[i])
        ty = (y[k] - ynodes[j]) / (ynodes[j + 1] - ynodes[j])
        if interpolation == "bilinear":
            data[k, j : j + 2, i : i + 2] = np.outer([1 - ty, ty], [1 - tx, tx])
        else:  # the triangle on the point's side of the diagonal from (0, 0) to (1, 1)
            data[k, j, i], data[k, j + 1, i + 1] = 1 - max(tx, ty), min(tx, ty)
            data[k, j + (ty > tx), i + (tx >= ty)] += abs(tx - ty)
    rows_x, rows_y = np.zeros((ny, nx, ny, nx)), np.zeros((ny, nx, ny, nx))
    xs, ys = xnodes / np.diff(xnodes).mean(), ynodes / np.diff(ynodes).mean()
    for j in range(ny):
        for i in range(nx):
            if 0 < i < nx - 1:
                rows_x[j, i, j, i - 1 : i + 2] = second_difference(*xs[i - 1 : i + 2])
            if 0 < j < ny - 1:
                rows_y[j, i, j - 1 : j + 2, i] = second_difference(*ys[j - 1 : j + 2])
    size = nx * ny
    rows_x, rows_y, data = rows_x.reshape(size, size), rows_y.reshape(size, size), data.reshape(len(x), size)
    rows = np.vstack([rows_x, rows_y]) if regularizer == "gradient" else rows_x + rows_y
    strength = smoothness * np.linalg.norm(data, 1) / np.linalg.norm(rows, 1)
    right = np.concatenate([z, np.zeros(len(rows))])
    return np.linalg.lstsq(np.vstack([data, strength * rows]), right, rcond=None)[0].reshape(ny, nx)


def second_difference(before, here, after):
    a, b = here - before, after - here
    return [2 / (a * (a + b)), -2 / (a * b), 2 / (b * (a + b))]


@pytest.mark.parametrize(("interpolation", "regularizer"), KINDS)
def test_is_the_dense_least_squares_solution(interpolation, regularizer):
    rng = np.random.default_rng(3)
    xnodes, ynodes = np.cumsum(rng.uniform(0.5, 2, 21)), np.cumsum(rng.uniform(0.5, 2, 20))  # two levels of multigrid
    x, y = rng.uniform(xnodes[0], xnodes[-1], 150), rng.uniform(ynodes[0], ynodes[-1], 150)
    x[:20], y[:20] = x[20:40], y[20:40]  # repeated points, of different height
    z = rng.normal(0, 5, 150)
    kind = {"interpolation": interpolation, "regularizer": regularizer}
    heights = gridfit(x, y, z, xnodes, ynodes, 2.0, **kind)
    np.testing.assert_allclose(heights, dense_gridfit(x, y, z, xnodes, ynodes, 2.0, **kind), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("interpolation", "regularizer"), KINDS)
def test_carries_a_plane_over_holes_and_beyond_the_data(interpolation, regularizer):
    rng = np.random.default_rng(0)
    x, y = rng.uniform(-20, 20, (2, 3000))
    keep = np.hypot(x, y) > 8
    nodes = np.linspace(-40, 40, 81)
    heights = gridfit(
        x[keep], y[keep], 3 + 0.5 * x[keep] - 2 * y[keep], nodes, nodes,
        interpolation=interpolation, regularizer=regularizer,
    )  # fmt: skip
    np.testing.assert_allclose(heights, 3 + 0.5 * nodes - 2 * nodes[:, None], atol=1e-5)


def test_follows_a_quadratic():
    rng = np.random.default_rng(0)
    x, y = rng.uniform(0, 10, (2, 20_000))
    nodes = np.linspace(0, 10, 60)
    heights = gridfit(x, y, x**2 - x * y, nodes, nodes, 0.1, interpolation="bilinear")
    error = np.abs(heights - (nodes**2 - nodes * nodes[:, None]))
    assert error.max() < 0.05  # of heights up to 100; most at the rim, where second differences have no row
    assert error[3:-3, 3:-3].max() < 0.015


def test_smoothness_takes_out_noise_along_its_axis():
    rng = np.random.default_rng(0)
    nodes = np.arange(40.0)
    x, y = (each.ravel() for each in np.meshgrid(nodes, nodes))
    heights = gridfit(x, y, rng.normal(0, 1, x.shape), nodes, nodes, (100.0, 0.1))
    rough_x, rough_y = (np.diff(heights, 2, axis=axis).std() for axis in (1, 0))
    assert rough_x < 0.4 * rough_y


def test_ignores_missing_points_and_counts_those_outside():
    x, y, z, xnodes, ynodes = small_case()
    expected = gridfit(x, y, z, xnodes, ynodes)
    more = [np.append(values, extra) for values, extra in ((x, [1, 99, 5]), (y, [0, 0, np.nan]), (z, [np.nan, 1, 1]))]
    with pytest.warns(UserWarning, match="1 of 201 points outside the nodes ignored"):
        np.testing.assert_array_equal(gridfit(*more, xnodes, ynodes), expected)


def test_wildly_uneven_nodes_still_give_the_dense_solution():
    rng = np.random.default_rng(5)
    xnodes, ynodes = np.cumsum(10 ** rng.uniform(-2, 1, 21)), np.cumsum(10 ** rng.uniform(-2, 1, 20))
    x, y = rng.uniform(xnodes[0], xnodes[-1], 400), rng.uniform(ynodes[0], ynodes[-1], 400)
    z = np.sin(x / 9) * 10 + y / 5
    expected = dense_gridfit(x, y, z, xnodes, ynodes, 1.0, "triangle", "gradient")
    np.testing.assert_allclose(gridfit(x, y, z, xnodes, ynodes), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xnodes": [0, 1, 1, 2]}, "xnodes must be at least 3 strictly increasing"),
        ({"ynodes": [0, 1]}, "ynodes must be at least 3"),
        ({"x": [1.0, 2.0]}, "must be of one length"),
        ({"smoothness": -1}, "smoothness must be one positive number or a pair"),
        ({"smoothness": (1, 2, 3)}, "smoothness must be"),
        ({"interpolation": "nearest"}, "interpolation must be one of"),
        ({"regularizer": "springs"}, "regularizer must be one of"),
        ({"z": np.full(200, np.nan)}, "at least 3 finite points"),
        ({"y": np.full(200, 2.0)}, "do not determine a surface"),
    ],
)
def test_says_what_is_wrong(change, message):
    arguments = dict(zip(("x", "y", "z", "xnodes", "ynodes"), small_case(), strict=True)) | change
    with pytest.raises(ValueError, match=message):
        gridfit(**arguments)


def test_no_warning_on_clean_input():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gridfit(*small_case())
