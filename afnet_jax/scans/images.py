"""Texture pictures of scans: decoded with Pillow, within bounds."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from PIL import Image

from afnet_jax.scans.files import read_bytes
from afnet_jax.scans.scan import ScanError

# The databases' own textures have 1.2 to 1.8 million pixels. A small file may announce billions: the header
# is asked before a single pixel is decoded.
MAX_PIXELS = 10_000_000
MAX_BYTES = 4 * MAX_PIXELS


def read_rgb(path: Path) -> np.ndarray:
    """Reads a BMP or PNG picture as (H, W, 3) uint8 RGB.

    Raises:
        ScanError: the picture is missing, damaged, of another format or larger than MAX_PIXELS.
    """
    data = read_bytes(path, MAX_BYTES, "texture picture")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # our own bound is far lower
            with Image.open(io.BytesIO(data), formats=("BMP", "PNG")) as image:
                width, height = image.size
                if not 0 < width * height <= MAX_PIXELS:
                    raise ScanError(path, f"the picture is {width}×{height}, expected 1 to {MAX_PIXELS:,} pixels")
                return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except ScanError:
        raise
    except Exception as error:  # Pillow's decoders raise whatever a broken file makes them stumble over
        raise ScanError(path, f"not a readable BMP or PNG picture ({error}); copy it again") from error


def write_rgb(path: Path, pixels: np.ndarray) -> None:
    """Writes (H, W, 3) uint8 RGB in the format that the name's extension says."""
    Image.fromarray(np.ascontiguousarray(pixels)).save(path)
