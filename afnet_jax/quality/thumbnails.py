"""One scan's face maps as a strip of four small pictures: texture, depth, masks, landmarks."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image, ImageDraw

TILE = 112  # pixels: edge of each of the four
STRIP = (4 * TILE, TILE)

_LIGHT = np.array([-0.4, 0.5, 0.77], np.float32)  # from the upper left
_DIMMED = 0.35  # brightness of the texture where the masks are 0
_DOT, _RIM = (255, 224, 64), (0, 0, 0)  # bright on dark: seen on any skin, and without telling colours apart


def strip(texture: np.ndarray, depth: np.ndarray, mask: np.ndarray, landmarks: np.ndarray) -> bytes:
    """The four pictures side by side, as a WebP file of STRIP pixels.

    Args:
        texture: (S, S, 3) uint8.
        depth: (S, S) mm per pixel's edge, NaN outside the face.
        mask: (M, M) in [0, 1].
        landmarks: (K, 2) column and row in pixels of the texture, NaN where absent.
    """
    face = _shrunk(texture)
    lit = np.asarray(Image.fromarray(np.asarray(mask, np.float32)).resize((TILE, TILE), Image.Resampling.BILINEAR))
    masked = (face * (_DIMMED + (1 - _DIMMED) * lit[..., None])).astype(np.uint8)
    scale = TILE / len(texture)
    dotted = _dotted(face, (np.asarray(landmarks) + 0.5) * scale - 0.5)
    tiles = np.concatenate([face, _shrunk(relief(depth)), masked, dotted], axis=1)
    file = io.BytesIO()
    Image.fromarray(tiles).save(file, format="WEBP", quality=80, method=2)
    return file.getvalue()


def relief(depth: np.ndarray) -> np.ndarray:
    """A surface lit from the upper left.

    Args:
        depth: (S, S) heights in units of a pixel's edge, NaN where there is no surface.

    Returns:
        (S, S, 3) uint8, black where there is no surface.
    """
    down, right = np.gradient(np.asarray(depth, np.float32))
    normal = np.stack([-right, down, np.ones_like(right)], axis=-1) / np.sqrt(right**2 + down**2 + 1)[..., None]
    shade = np.nan_to_num(np.clip(40 + 210 * normal @ _LIGHT, 0, 255))
    return np.repeat(shade.astype(np.uint8)[..., None], 3, axis=-1)


def _shrunk(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((TILE, TILE), Image.Resampling.BOX))


def _dotted(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for x, y in at[np.isfinite(at).all(axis=1)]:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=_DOT, outline=_RIM)
    return np.asarray(picture)
