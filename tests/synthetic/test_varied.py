"""Varied subjects: the same arguments give the same face, others another, and each shows what its label says."""

import numpy as np
import pytest

from afnet_jax.scans.scan import EXPRESSION_CODES
from afnet_jax.synthetic import template, varied
from afnet_jax.synthetic.ways import ALL_UNITS, WAYS, draw_way

MOUTH = template.common_places()["mouth_left"]
UPPER, LOWER = (template.common_places()[f"{which}_lip_inner"] for which in ("upper", "lower"))
BROW = template.common_places()["left_brow_inner"]


def _mean_moves(expression: str, place, count: int = 40) -> np.ndarray:
    """(3,) mm that a place of the template moves by on average over ways to show an expression."""
    moves = [
        template.interpolate(draw_way(expression, np.random.default_rng([k, 1])).moved, np.array([place]))[0]
        for k in range(count)
    ]
    return np.mean(moves, axis=0)


def test_every_expression_has_several_ways():
    assert set(WAYS) == set(EXPRESSION_CODES)
    for ways in WAYS.values():
        assert len(ways) >= 5 and all(weight > 0 and set(units) <= set(ALL_UNITS) for weight, units in ways)


def test_a_way_is_drawn_by_its_seed():
    one, same, other = (draw_way("HA", np.random.default_rng(seed)) for seed in (3, 3, 4))
    np.testing.assert_array_equal(one.moved, same.moved)
    assert one.lids == same.lids and np.abs(one.moved - other.moved).max() > 1


@pytest.mark.slow
def test_on_average_an_expression_does_what_its_name_says():
    happy, sad, surprised, angry = (_mean_moves(code, MOUTH) for code in ("HA", "SA", "SU", "AN"))
    assert happy[1] > 3 and happy[0] > 2 and sad[1] < -2  # corners of the mouth: up and out, or down
    assert happy[1] > angry[1] > sad[1]
    assert _mean_moves("AN", BROW)[1] < -2 < 2 < _mean_moves("SU", BROW)[1]
    opened = {c: _mean_moves(c, UPPER)[1] - _mean_moves(c, LOWER)[1] for c in EXPRESSION_CODES}
    assert opened["SU"] == max(opened.values()) > 6 and surprised[1] < 0


def test_people_differ_and_one_person_stays_the_same():
    one, same, other = (varied.draw_subject(number, 5, 1) for number in (0, 0, 1))
    np.testing.assert_array_equal(one.rest, same.rest)
    np.testing.assert_array_equal(one.sheet, same.sheet)
    assert np.abs(one.rest - other.rest).max() > 3 and np.abs(one.person.skin - other.person.skin).max() > 1


@pytest.mark.parametrize("seed", range(3))
def test_a_head_is_a_surface_of_a_face(seed):
    subject = varied.draw_subject(seed, 0, 1)
    head = varied.draw_head(subject, "SU", np.random.default_rng(seed))
    assert np.isfinite(head.points).all() and head.points.shape == (*template.SHAPE, 3)
    width = np.ptp(head.points[..., 0])
    assert 110 < width < 190  # mm
