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


@pytest.mark.parametrize("suffix", [".jpg", ".bmp", ".png"])
def test_jpeg_is_read_whatever_its_name(tmp_path, suffix):
    pixels = np.repeat(np.linspace(0, 255, 64).astype(np.uint8), 64).reshape(64, 64)
    Image.fromarray(pixels).convert("RGB").save(tmp_path / f"a{suffix}", format="JPEG", quality=95)
    back = images.read_rgb(tmp_path / f"a{suffix}")
    assert back.shape == (64, 64, 3) and np.abs(back[..., 1].astype(int) - pixels).max() < 8


def test_large_pictures_are_read_and_larger_ones_named(tmp_path):
    Image.new("L", (4000, 3000), 9).save(tmp_path / "large.jpg")
    assert images.read_rgb(tmp_path / "large.jpg").shape == (3000, 4000, 3)
    (tmp_path / "larger.png").write_bytes(png_header(9000, 9000))
    with pytest.raises(ScanError, match=r"9000×9000, expected 1 to 67,108,864 pixels \(8192×8192\); make it smaller"):
        images.read_rgb(tmp_path / "larger.png")


def test_transparent_16_bit_and_foreign_pictures(tmp_path):
    rgba = np.zeros((4, 4, 4), np.uint8)
    rgba[:2] = (200, 100, 50, 255)
    rgba[2:] = (200, 100, 50, 0)
    Image.fromarray(rgba).save(tmp_path / "cut_out.png")
    back = images.read_rgb(tmp_path / "cut_out.png")
    assert (back[:2] == (200, 100, 50)).all() and (back[2:] == 0).all()
    Image.fromarray(np.full((4, 4), 0x80FF, np.uint16)).save(tmp_path / "deep.png")
    assert (images.read_rgb(tmp_path / "deep.png") == 0x80).all()
    Image.new("RGB", (4, 4)).save(tmp_path / "other.png", format="GIF")
    with pytest.raises(ScanError, match="not a BMP, PNG or JPEG picture but GIF; convert it to PNG"):
        images.read_rgb(tmp_path / "other.png")
