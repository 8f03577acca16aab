"""Clouds of points changed at random while a network learns: heads turned and moved, other sensors, other light.

Every draw is a function of the scan's key. What config.train.augment leaves at 0 is not drawn, and costs nothing.

Shapes: B scans, N points of each.
"""

from __future__ import annotations

from collections.abc import Collection

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.maps import Clouds, Maps
from afnet_jax.points.masks import with_template
from afnet_jax.points.rendering import grid_of, render
from afnet_jax.preprocessing.computed import surface_normals

_PIVOT = np.mean(list(TEMPLATE.values()), axis=0, dtype=np.float32)  # canonical mm: what a head is turned about
_GOLDEN = np.uint32(0x9E3779B9)
_BYTES_DEVIATION = float(np.sqrt(4 * (256**2 - 1) / 12))  # of the sum of four bytes


def render_augmented(
    clouds: Clouds, keys: jax.Array, size: int, modalities: Collection[str], augment: ConfigDict
) -> Maps:
    """Returns the maps of B clouds changed at random.

    Args:
        clouds: of B scans.
        keys: (B,) one for each scan.
        size: edge of the images, pixels.
        modalities: config.model.modalities.
        augment: config.train.augment.
    """
    if not is_on(augment):
        return render(clouds, size, modalities)
    with jax.named_scope("rendering"):
        cloud_keys, light_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
        clouds = jax.vmap(lambda cloud, key: change_cloud(cloud, key, augment))(clouds, cloud_keys)
        maps = render(clouds, size, modalities)
        return maps._replace(texture=_relit(maps, light_keys, augment))


def is_on(augment: ConfigDict) -> bool:
    """Tells whether config.train.augment asks for any change; the holes' size asks for none."""
    return any(value for name, value in augment.items() if name != "hole_mm")


def change_cloud(cloud: Clouds, key: jax.Array, augment: ConfigDict) -> Clouds:
    """Returns one cloud turned, moved, scaled, with other noise, holes and landmarks.

    Args:
        cloud: of one scan, without the axis of scans.
        key: of its draws.
        augment: config.train.augment.
    """
    turn, move, noise, holes, marks = jax.random.split(key, 5)
    cloud = moved(cloud, _motion(turn, augment), _uniform(move, augment.shift_mm, 3))
    points = cloud.points.astype(jnp.float32)
    if augment.noise_mm:
        points += _noise(noise, len(points), augment.noise_mm)[:, None] * cloud.rotation[2] / _length(cloud.rotation[2])
    if augment.holes:
        points = jnp.where(_in_holes(holes, points, augment)[:, None], jnp.nan, points)
    landmarks = cloud.landmarks
    if augment.landmarks_mm:
        landmarks += augment.landmarks_mm * jax.random.normal(marks, landmarks.shape)
    return cloud._replace(points=points, landmarks=landmarks)


def _motion(key: jax.Array, augment: ConfigDict) -> jax.Array:
    """(3, 3) a rotation and a change of size."""
    angle_key, size_key = jax.random.split(key)
    most = jnp.radians(jnp.array([augment.pitch, augment.yaw, augment.roll], jnp.float32))
    return _rotation(_uniform(angle_key, most, 3)) * (1 + _uniform(size_key, augment.scale))


def _uniform(key: jax.Array, most, *shape: int) -> jax.Array:
    return most * jax.random.uniform(key, shape, minval=-1, maxval=1)


def _rotation(angles: jax.Array) -> jax.Array:
    """(3, 3) rotation by (pitch, yaw, roll) in radians, about x first, then y, then z."""
    (cx, cy, cz), (sx, sy, sz) = jnp.cos(angles), jnp.sin(angles)
    one, no = jnp.float32(1), jnp.float32(0)
    about_x = jnp.array([[one, no, no], [no, cx, -sx], [no, sx, cx]])
    about_y = jnp.array([[cy, no, sy], [no, one, no], [-sy, no, cy]])
    about_z = jnp.array([[cz, -sz, no], [sz, cz, no], [no, no, one]])
    return _times(about_z, _times(about_y, about_x))


def _times(left: jax.Array, right: jax.Array) -> jax.Array:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)


def moved(cloud: Clouds, motion: jax.Array, shift: jax.Array) -> Clouds:
    """Returns one cloud after a (3, 3) motion about the middle of the face, and a shift in mm.

    Landmarks that the scan lacks are the template's before the motion: left for the masks to fill in, they would stay
    where an unmoved head has them.
    """
    landmarks = with_template(cloud.landmarks)
    return cloud._replace(
        rotation=_times(motion, cloud.rotation),
        offset=_times(motion, cloud.offset - _PIVOT) + _PIVOT + shift,
        landmarks=_times(landmarks - _PIVOT, motion.T) + _PIVOT + shift,
    )


def _length(vector: jax.Array) -> jax.Array:
    return jnp.sqrt((vector**2).sum())


def _noise(key: jax.Array, count: int, most: float) -> jax.Array:
    """(count,) mm of a sensor's noise, whose deviation is drawn up to `most`.

    Sums of the four bytes of a hash (the finaliser of MurmurHash3) of the point's number: near to normal, and a tenth
    of the time that as many normal numbers take on a CPU.
    """
    deviation_key, word_key = jax.random.split(key)
    word = jax.random.bits(word_key, dtype=jnp.uint32)
    bits = jnp.arange(count, dtype=jnp.uint32) * _GOLDEN + word
    bits = (bits ^ (bits >> 16)) * np.uint32(0x85EBCA6B)
    bits = (bits ^ (bits >> 13)) * np.uint32(0xC2B2AE35)
    bits = bits ^ (bits >> 16)
    total = jnp.stack([(bits >> shift) & 0xFF for shift in (0, 8, 16, 24)]).sum(0).astype(jnp.float32)
    deviation = most * jax.random.uniform(deviation_key)
    return deviation / _BYTES_DEVIATION * (total - 4 * 127.5)


def _in_holes(key: jax.Array, points: jax.Array, augment: ConfigDict) -> jax.Array:
    """(N,) bool: within one of up to `holes` balls round points drawn at random."""
    number_key, place_key, size_key = jax.random.split(key, 3)
    number = jax.random.randint(number_key, (), 0, augment.holes + 1)
    places = points[jax.random.randint(place_key, (augment.holes,), 0, len(points))]
    radii = augment.hole_mm * jax.random.uniform(size_key, (augment.holes,))
    lost = jnp.zeros(len(points), bool)
    for k in range(augment.holes):
        lost |= (((points - places[k]) ** 2).sum(-1) < radii[k] ** 2) & (k < number)
    return lost


def _relit(maps: Maps, keys: jax.Array, augment: ConfigDict) -> jax.Array:
    """(B, S, S, 3) uint8 textures under another lamp, and of other colour."""
    texture = maps.texture
    if not augment.light and not augment.colour:
        return texture
    wide = texture.astype(jnp.float32)
    lamp_keys, colour_keys = jnp.moveaxis(jax.vmap(jax.random.split)(keys), 1, 0)
    if augment.light:
        lamps = jax.vmap(lambda key: _uniform(key, augment.light, 2))(lamp_keys)
        step = grid_of(texture.shape[1]).step
        depth = maps.depth[..., 0].astype(jnp.float32)
        normals = jax.vmap(lambda each: surface_normals({"depth": each}, step))(depth)
        across, up = lamps[:, :1, None], lamps[:, 1:, None]
        wide *= (1 + across * normals[..., 0] + up * normals[..., 1])[..., None]  # no product of matrices: two columns
    if augment.colour:
        wide *= 1 + jax.vmap(lambda key: _uniform(key, augment.colour, 3))(colour_keys)[:, None, None]
    return jnp.round(wide.clip(0, 255)).astype(texture.dtype)
