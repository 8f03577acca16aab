"""Masks of a head that is moved move with it, though some of its landmarks are known from the template alone."""

import jax.numpy as jnp
import numpy as np
from scipy.spatial.transform import Rotation

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.maps import Clouds
from afnet_jax.points.augmentation import moved
from afnet_jax.points.masks import draw_masks
from afnet_jax.preprocessing.masks import salient_masks
from afnet_jax.preprocessing.pipeline import PreprocessingConfig
from afnet_jax.scans.scan import LANDMARKS

NOWHERE = np.full(3, np.nan)


def test_landmarks_of_the_template_move_with_the_head():
    """Against the host's masks of a whole face that is moved by hand."""
    given = {name: at + 2.0 for name, at in TEMPLATE.items() if "brow" not in name and name != "nose_tip"}
    turn = Rotation.from_euler("yz", (15, 8), degrees=True).as_matrix()
    middle, shift = np.mean(list(TEMPLATE.values()), axis=0), np.array([4.0, -12.0, 3.0])
    cloud = Clouds(
        points=np.zeros((1, 3), np.float32),
        colours=np.zeros((1, 3), np.uint8),
        rotation=np.eye(3, dtype=np.float32),
        offset=np.zeros(3, np.float32),
        landmarks=np.array([given.get(name, NOWHERE) for name in LANDMARKS], np.float32),
    )
    after = moved(cloud, jnp.asarray(turn, jnp.float32), jnp.asarray(shift, jnp.float32))
    whole = {name: turn @ (at - middle) + middle + shift for name, at in (TEMPLATE | given).items()}
    expected = salient_masks(whole, PreprocessingConfig().grid)
    drawn = draw_masks(after.landmarks[None], 224)
    np.testing.assert_allclose(drawn["mask1"][0], expected[56], atol=0.02)
