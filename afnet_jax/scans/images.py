"""Texture pictures of scans: decoded with Pillow, within bounds, and brought to 8-bit RGB."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.scan import ScanError

# The databases' own textures have 1.2 to 1.8 million pixels, the largest that scanners' software writes are
# 8192×8192. A small file may announce billions: the header is asked before a single pixel is decoded.
MAX_PIXELS = 8192 * 8192
MAX_BYTES = 4 * MAX_PIXELS
FORMATS = ("BMP", "PNG", "JPEG")


def read_rgb(path: Path) -> np.ndarray:
    """Reads a BMP, PNG or JPEG picture as (H, W, 3) uint8 RGB; its bytes say which it is, not its name.

    Grey and palettes become colours, 16 bits 8; what is transparent is laid over black.

    Raises:
        ScanError: the picture is missing, damaged, of another format or larger than MAX_PIXELS.
    """
    return decode_rgb(path, read_bytes(path, MAX_BYTES, "texture picture"))


def decode_rgb(path: Path, data: bytes, *, opaque: bool = False) -> np.ndarray:
    """Decodes a picture's bytes as `read_rgb` does; `path` is the file that holds them.

    Args:
        path: see above.
        data: the bytes.
        opaque: what the picture says of transparency does not count.

    Raises:
        ScanError: see `read_rgb`.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is lower
            with Image.open(io.BytesIO(data), formats=FORMATS) as image:
                width, height = image.size
                if not 0 < width * height <= MAX_PIXELS:
                    expected = f"1 to {MAX_PIXELS:,} pixels (8192×8192)"
                    raise ScanError(path, f"the picture is {width}×{height}, expected {expected}; make it smaller")
                return _to_rgb(image, opaque)
    except ScanError:
        raise
    except UnidentifiedImageError:
        raise ScanError(path, f"not a BMP, PNG or JPEG picture{_other_kind(data)}; convert it to PNG") from None
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        reason = " ".join(str(error).split())
        raise ScanError(path, f"not a readable BMP, PNG or JPEG picture ({reason}); copy it again") from error


def _to_rgb(image: Image.Image, opaque: bool) -> np.ndarray:
    if image.mode == "RGB":
        return np.array(image)
    if image.mode.startswith("I"):  # 16-bit grey, which Pillow would clip at 255
        return np.repeat((np.asarray(image) // 256).clip(0, 255).astype(np.uint8)[..., None], 3, axis=2)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return np.ascontiguousarray(rgba[..., :3]) if opaque else over_black(rgba)
    return np.array(image.convert("RGB"))


def over_black(rgba: np.ndarray) -> np.ndarray:
    """Returns (H, W, 3) uint8: the colours of (H, W, 4) uint8 weighed by their opacity.

    An alpha channel that is 0 everywhere is one that was never filled, as in 32-bit BMP: colours stay as they are.
    """
    alpha = rgba[..., 3:]
    if not alpha.any() or alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    return ((rgba[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def _other_kind(data: bytes) -> str:
    try:
        with Image.open(io.BytesIO(data)) as image:
            return f" but {image.format}"
    except Exception:  # no picture at all
        return ""


def write_rgb(path: Path, pixels: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB in the format that the name's extension says."""
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
