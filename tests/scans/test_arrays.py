"""What a reader may return and what is refused: each in one line that names field, expectation and finding."""

import dataclasses

import numpy as np
import pytest

from afnet_jax.scans import ScanError
from afnet_jax.scans.validity import validated


def changed(**fields):
    """A function that replaces fields of a scan by functions of it."""
    return lambda scan: dataclasses.replace(scan, **{name: make(scan) for name, make in fields.items()})


REFUSED = {
    "points in the plane": (changed(points=lambda s: s.points[:, :2]), r"points: expected \(N, 3\) numbers"),
    "points as text": (changed(points=lambda s: s.points.astype(str)), r"points: expected \(N, 3\) numbers.*found <U"),
    "no points": (changed(points=lambda s: s.points[:0]), r"points: expected .*shape \(0, 3\)"),
    "quads": (
        changed(triangles=lambda s: s.triangles[:, [0, 1, 2, 2]], uv_triangles=lambda s: s.triangles[:, [0, 1, 2, 2]]),
        "split each quad a b c d into a b c and a c d",
    ),
    "ragged faces": (changed(triangles=lambda s: [[0, 1, 2], [0, 1, 2, 3]]), "lists of unequal lengths"),
    "fractional indices": (changed(triangles=lambda s: s.triangles + 0.5), "whole numbers, found float64"),
    "negative index": (changed(triangles=lambda s: s.triangles - 1), "names points -1 to .*, expected 0 to"),
    "indices from 1": (
        changed(triangles=lambda s: s.triangles + 1),
        "they seem to count from 1: subtract 1",
    ),
    "index of no texture point": (
        changed(uv_triangles=lambda s: s.uv_triangles + len(s.uv)),
        "uv_triangles names texture points",
    ),
    "fewer texture triangles": (
        changed(uv_triangles=lambda s: s.uv_triangles[:-1]),
        "uv_triangles beside .* triangles, expected one for each",
    ),
    "no triangle": (changed(triangles=lambda s: s.triangles[:0]), "the mesh has no triangle"),
    "texture points with w": (changed(uv=lambda s: np.pad(s.uv, [(0, 0), (0, 1)])), r"uv: expected \(N, 2\) numbers"),
    "texture points in pixels": (changed(uv=lambda s: s.uv * 512), "divide pixels by the picture's width and height"),
    "float texture": (changed(texture=lambda s: s.texture / 255.0), r"float64 .* give np.round\(texture \* 255\)"),
    "float texture to 255": (changed(texture=lambda s: s.texture * 1.0), r"give np.round\(texture\)"),
    "16-bit texture": (changed(texture=lambda s: s.texture.astype(np.uint16) * 257), r"texture / 257\)"),
    "texture with nan": (changed(texture=lambda s: np.full((4, 4, 3), np.nan)), "expected .* uint8 RGB, found float64"),
    "five channels": (changed(texture=lambda s: np.zeros((9, 9, 5), np.uint8)), "expected .* uint8 RGB"),
    "a texture of one pixel": (changed(texture=lambda s: s.texture[:1, :1]), "at least 2×2 pixels"),
    "points that are no numbers": (
        changed(points=lambda s: np.where(np.arange(len(s.points))[:, None] < 3, np.nan, s.points)),
        "beyond ±10000 mm or no number at 3 of .* points; leave those out",
    ),
    "a landmark in the picture": (
        changed(landmarks=lambda s: {"chin": (3, 4)}),
        "landmark chin: expected three numbers",
    ),
    "landmarks in a list": (changed(landmarks=lambda s: [1, 2]), "landmarks: expected a dict"),
    "a grid of other points": (changed(grid=lambda s: s.grid + 1), "grid: expected .* indices of points"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_in_one_line(dome, case):
    change, told = REFUSED[case]
    with pytest.raises(ScanError, match=told) as caught:
        validated(change(dome))
    assert "\n" not in str(caught.value)


def test_lists_and_other_whole_numbers_are_taken(dome):
    fields = ("points", "triangles", "uv", "uv_triangles")
    listed = validated(dataclasses.replace(dome, **{name: getattr(dome, name).tolist() for name in fields}))
    for name in fields:
        np.testing.assert_array_equal(getattr(listed, name), getattr(dome, name))
    assert (listed.points.dtype, listed.triangles.dtype, listed.uv.dtype) == (np.float64, np.int32, np.float32)
    assert validated(dataclasses.replace(dome, triangles=dome.triangles.astype(np.uint64))).triangles.dtype == np.int32


def test_grey_becomes_rgb(dome):
    grey = dome.texture[..., 0]
    for texture in (grey, grey[..., None]):
        taken = validated(dataclasses.replace(dome, texture=texture)).texture
        np.testing.assert_array_equal(taken, np.stack([grey] * 3, axis=-1))


@pytest.mark.parametrize("alpha", [255, 0, None])
def test_rgba_is_laid_over_black_and_an_unused_alpha_ignored(dome, alpha):
    alphas = np.full((*dome.texture.shape[:2], 1), alpha or 0, np.uint8)
    if alpha is None:
        alphas[10:20], alphas[20:] = 128, 255
    taken = validated(dataclasses.replace(dome, texture=np.concatenate([dome.texture, alphas], axis=2))).texture
    expected = dome.texture if alpha is not None else np.round(dome.texture * (alphas / 255.0))
    assert taken.dtype == np.uint8 and np.abs(taken - expected.astype(float)).max() <= 0.5
