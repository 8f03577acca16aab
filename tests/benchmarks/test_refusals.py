"""What the benchmark of refusals shows the detector."""

import numpy as np
import pytest

from benchmarks import refusals


@pytest.mark.parametrize("kind", refusals.KINDS, ids=lambda kind: kind.__name__)
def test_things_are_meshes(kind):
    for seed in range(3):
        points, triangles = kind(np.random.default_rng(seed))
        assert np.isfinite(points).all() and len(triangles) > 50
        assert triangles.min() >= 0 and triangles.max() < len(points)


def test_what_is_not_refused_in_one_line_is_told():
    def lines():
        raise refusals.AFNetError("one\ntwo")

    def crash():
        raise KeyError("x")

    def refuse():
        raise refusals.AFNetError("no face found")

    assert refusals._not_refused(refuse) == ""
    assert "several lines" in refusals._not_refused(lines)
    assert "KeyError" in refusals._not_refused(crash)
    assert refusals._not_refused(lambda: None) == "taken for a face"
