"""A face without bumps whose every height is known, as a scan of any density and pose."""

import dataclasses

import numpy as np
import pytest
import scipy.interpolate

from afnet_jax.geometry.alignment import TEMPLATE
from afnet_jax.scans import Scan, ScanId


class Face:
    """A smooth surface through the template's landmarks and a rim 60 mm behind them, in the canonical frame."""

    half_width, half_height, middle = 72.0, 95.0, -25.0  # mm; the ellipse that a scan covers

    def __init__(self):
        at = np.stack(list(TEMPLATE.values()))
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        rim = np.stack([82 * np.cos(angle), self.middle + 105 * np.sin(angle), np.full(24, -60.0)], axis=1)
        points = np.vstack([at, rim])
        self._surface = scipy.interpolate.RBFInterpolator(points[:, :2], points[:, 2], smoothing=1.0)

    def height(self, x, y):
        x, y = np.broadcast_arrays(x, y)
        return self._surface(np.stack([x.ravel(), y.ravel()], axis=1)).reshape(x.shape)

    @property
    def landmarks(self):
        return {name: np.array([*at[:2], self.height(*at[:2])]) for name, at in TEMPLATE.items()}

    def scan(self, spacing=1.5, texture=None) -> Scan:
        """A mesh of a square grid's points within an ellipse; the texture is seen straight from the front."""
        x, y = np.meshgrid(
            np.arange(-self.half_width, self.half_width, spacing),
            np.arange(self.middle - self.half_height, self.middle + self.half_height, spacing),
        )
        inside = (x / self.half_width) ** 2 + ((y - self.middle) / self.half_height) ** 2 < 1
        grid = np.where(inside, np.cumsum(inside).reshape(inside.shape) - 1, -1)
        a, b, c, d = (part.ravel() for part in (grid[:-1, :-1], grid[:-1, 1:], grid[1:, 1:], grid[1:, :-1]))
        triangles = np.concatenate([np.stack([a, b, c], axis=1), np.stack([a, c, d], axis=1)])
        triangles = triangles[(triangles >= 0).all(axis=1)].astype(np.int32)
        points = np.stack([x, y, self.height(x, y)], axis=-1)[inside]
        uv = self.to_uv(points).astype(np.float32)
        texture = np.full((400, 320, 3), 128, np.uint8) if texture is None else texture
        identity = ScanId("bu3dfe", "F0001", "HA", 4, "WH", "F0001_HA04WH")
        return Scan(identity, points, triangles, uv, triangles, texture, self.landmarks)

    def to_uv(self, points):
        """Texture image: 160 × 200 mm round the ellipse's middle, v from the top."""
        return np.stack([(points[:, 0] + 80) / 160, (self.middle + 100 - points[:, 1]) / 200], axis=1)


def moved(scan: Scan, rotation: np.ndarray, translation=(0.0, 0.0, 0.0)) -> Scan:
    """The same head in another pose."""
    landmarks = {name: rotation @ at + translation for name, at in scan.landmarks.items()}
    return dataclasses.replace(scan, points=scan.points @ rotation.T + translation, landmarks=landmarks)


@pytest.fixture(scope="session")
def face() -> Face:
    return Face()
