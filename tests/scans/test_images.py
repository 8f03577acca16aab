import os
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from afnet_jax.scans import ScanError, images


def png_header(width: int, height: int) -> bytes:
    """A PNG that announces a size and holds one compressed run of zeros (PNG specification, section 5)."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(10**6))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", [".bmp", ".png"])
def test_write_then_read_is_the_identity(tmp_path, suffix):
    pixels = np.random.default_rng(0).integers(0, 256, (17, 31, 3), np.uint8)
    images.write_rgb(tmp_path / f"a{suffix}", pixels)
    back = images.read_rgb(tmp_path / f"a{suffix}")
    np.testing.assert_array_equal(back, pixels)
    assert back.flags.writeable and back.dtype == np.uint8


def test_grey_and_palette_pictures_become_rgb(tmp_path):
    Image.new("L", (4, 3), 7).save(tmp_path / "grey.png")
    Image.new("RGB", (4, 3), (1, 2, 3)).quantize(4).save(tmp_path / "palette.bmp")
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "grey.png"), np.full((3, 4, 3), 7))
    np.testing.assert_array_equal(images.read_rgb(tmp_path / "palette.bmp"), np.full((3, 4, 3), (1, 2, 3)))


@pytest.mark.parametrize("size", [(60_000, 60_000), (2**31 - 1, 1), (9000, 9000)])
def test_refuses_a_picture_that_would_fill_the_memory(tmp_path, size):
    (tmp_path / "bomb.png").write_bytes(png_header(*size))
    with pytest.raises(ScanError, match=r"expected 1 to|decompression bomb"):
        images.read_rgb(tmp_path / "bomb.png")


def test_refuses_what_is_no_picture(tmp_path):
    images.write_rgb(tmp_path / "whole.bmp", np.zeros((9, 9, 3), np.uint8))
    (tmp_path / "cut.bmp").write_bytes((tmp_path / "whole.bmp").read_bytes()[:-30])
    Image.new("RGB", (4, 3)).save(tmp_path / "other.bmp", format="GIF")
    (tmp_path / "text.png").write_text("no picture")
    for name in ("cut.bmp", "other.bmp", "text.png"):
        with pytest.raises(ScanError, match=r"not a (readable )?BMP, PNG or JPEG picture"):
            images.read_rgb(tmp_path / name)


def test_refuses_what_is_no_plain_file(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "empty.png").touch()
    (tmp_path / "folder.png").mkdir()
    for name, message in {
        "pipe.png": "no plain file",
        "folder.png": "no plain file",
        "empty.png": "empty",
        "none.png": "missing",
        "none\0.png": "cannot be read",
    }.items():
        with pytest.raises(ScanError, match=message):
            images.read_rgb(tmp_path / name)
