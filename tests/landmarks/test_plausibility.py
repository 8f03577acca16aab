"""Found landmarks weighed against what is known of faces."""

import numpy as np
import pytest

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.landmarks.plausibility import fitted_prior, judged
from afnet_jax.scans.scan import LANDMARKS

FACE = np.stack([TEMPLATE[name] for name in LANDMARKS])
NOTHING = np.zeros(len(LANDMARKS))


@pytest.fixture(scope="module")
def prior():
    rng = np.random.default_rng(0)
    scale = 1 + rng.normal(0, 0.06, (200, 1, 3))
    return fitted_prior(FACE * scale + rng.normal(0, 2.0, (200, *FACE.shape)), 0)


def test_landmarks_of_a_plain_face_stay(prior):
    likely, confidence = judged(prior, FACE, NOTHING, NOTHING)
    assert np.linalg.norm(likely - FACE, axis=1).max() < 2.0
    assert confidence.min() > 0.9


def test_one_that_is_far_off_gives_way_and_is_not_trusted(prior):
    wrong = FACE.copy()
    chin = LANDMARKS.index("chin")
    wrong[chin] += [30, 20, 0]
    likely, confidence = judged(prior, wrong, NOTHING, NOTHING)
    assert np.linalg.norm(likely[chin] - FACE[chin]) < 8.0
    assert confidence[chin] < 0.2 < 0.8 < np.delete(confidence, chin).min()


def test_one_in_a_hole_follows_the_others_more(prior):
    moved = FACE + np.array([0, 0, 6.0]) * (np.arange(len(FACE)) == 3)[:, None]
    firm, trusted = judged(prior, moved, NOTHING, NOTHING)
    loose, doubted = judged(prior, moved, NOTHING, 8.0 * (np.arange(len(FACE)) == 3))
    assert abs(loose[3, 2] - FACE[3, 2]) < abs(firm[3, 2] - FACE[3, 2])
    assert doubted[3] < trusted[3]


def test_what_is_placed_twice_differently_is_not_trusted(prior):
    _, confidence = judged(prior, FACE, 9.0 * (np.arange(len(FACE)) == 5), NOTHING)
    assert confidence.argmin() == 5 and confidence[5] < 0.5
