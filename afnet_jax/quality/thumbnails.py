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
    """The four pictures side by side, as a WebP file of STRIP pixels; arguments as `tiles` takes them."""
    return webp(np.concatenate([*tiles(texture, depth, mask, landmarks, TILE).values()], axis=1))


def webp(picture: np.ndarray) -> bytes:
    """(H, W, 3) uint8 as a WebP file."""
    file = io.BytesIO()
    Image.fromarray(picture).save(file, format="WEBP", quality=80, method=2)
    return file.getvalue()


def tiles(
    texture: np.ndarray, depth: np.ndarray, mask: np.ndarray, landmarks: np.ndarray, edge: int
) -> dict[str, np.ndarray]:
    """Returns name of a picture -> (edge, edge, 3) uint8: "texture", "depth", "masks" and "landmarks".

    Args:
        texture: (S, S, 3) uint8.
        depth: (S, S) mm per pixel's edge, NaN outside the face.
        mask: (M, M) in [0, 1].
        landmarks: (K, 2) column and row in pixels of the texture, NaN where absent.
        edge: pixels.
    """
    face = _resized(texture, edge)
    lit = np.asarray(Image.fromarray(np.asarray(mask, np.float32)).resize((edge, edge), Image.Resampling.BILINEAR))
    masked = (face * (_DIMMED + (1 - _DIMMED) * lit[..., None])).astype(np.uint8)
    scale = edge / len(texture)
    dotted = _dotted(face, (np.asarray(landmarks) + 0.5) * scale - 0.5)
    return {"texture": face, "depth": _resized(relief(depth), edge), "masks": masked, "landmarks": dotted}


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


def _resized(image: np.ndarray, edge: int) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((edge, edge), Image.Resampling.BOX))


def _dotted(image: np.ndarray, at: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    for x, y in at[np.isfinite(at).all(axis=1)]:
        draw.ellipse((x - 2, y - 2, x + 2, y + 2), fill=_DOT, outline=_RIM)
    return np.asarray(picture)
