"""One picture, one `image_hash`, whatever brought it; another picture, another."""

import re
import struct
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loadtests.pictures.samples import encode, photo
from PIL import Image
from tests.unit.pictures.rig import mosaic, prepared


def decoded(data: bytes) -> Image.Image:
    return Image.open(BytesIO(data)).convert("RGB")


def with_segment(jpeg: bytes, marker: int, content: bytes) -> bytes:
    return jpeg[:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + jpeg[2:]


# TIFF of one tag: Orientation is 1.
EXIF = b"II*\x00\x08\x00\x00\x00\x01\x00" + struct.pack("<HHIHH", 0x0112, 3, 1, 1, 0) + bytes(4)
JPEG = encode(photo(900, 600), "JPEG", quality=85)
LARGE = photo(2200, 1100)


@pytest.mark.parametrize(
    "copy",
    [
        pytest.param(encode(decoded(JPEG), "PNG"), id="png"),
        pytest.param(encode(decoded(JPEG), "PNG", compress_level=1), id="png-packed-otherwise"),
        pytest.param(encode(decoded(JPEG).convert("RGBA"), "PNG"), id="png-with-opaque-alpha"),
        pytest.param(encode(decoded(JPEG), "WEBP", lossless=True), id="lossless-webp"),
        pytest.param(with_segment(JPEG, 0xE1, b"Exif\x00\x00" + EXIF), id="jpeg-with-exif"),
        pytest.param(with_segment(JPEG, 0xFE, b"hello"), id="jpeg-with-a-comment"),
        pytest.param(JPEG + b"tail", id="jpeg-with-a-tail"),
    ],
)
def test_the_same_pixels_are_the_same_picture(copy: bytes) -> None:
    assert prepared(JPEG).image_hash == prepared(copy).image_hash


def test_large_pictures_of_the_same_pixels_are_the_same_when_shrunk() -> None:
    image = LARGE.crop((0, 0, 1300, 400))
    assert prepared(encode(image, "PNG")).image_hash == prepared(encode(image, "WEBP", lossless=True, method=0)).image_hash


def test_a_jpeg_below_twice_the_target_is_the_png_of_its_pixels() -> None:
    """No shrinking while decoding up to 2 × 1024 px."""
    jpeg = encode(LARGE.crop((0, 0, 2000, 1000)), "JPEG")
    assert prepared(jpeg).image_hash == prepared(encode(decoded(jpeg), "PNG", compress_level=1)).image_hash


def test_a_large_jpeg_is_its_copy_without_metadata() -> None:
    """Shrunk while decoded, but alike for all its own copies."""
    jpeg = encode(LARGE, "JPEG")
    assert prepared(jpeg).image_hash == prepared(with_segment(jpeg, 0xE1, b"Exif\x00\x00" + EXIF)).image_hash


def test_a_grey_picture_is_the_same_in_grey_and_in_rgb() -> None:
    grey = mosaic().convert("L")
    assert prepared(encode(grey, "PNG")).image_hash == prepared(encode(grey.convert("RGB"), "PNG")).image_hash


@given(x=st.integers(0, 39), y=st.integers(0, 23), band=st.integers(0, 2), step=st.integers(1, 255))
def test_any_pixel_matters(x: int, y: int, band: int, step: int) -> None:
    image = mosaic()
    before = prepared(encode(image, "PNG")).image_hash
    colours = list(image.getpixel((x, y)))  # type: ignore[arg-type]  # RGB has tuples
    colours[band] = (colours[band] + step) % 256
    image.putpixel((x, y), tuple(colours))
    assert before != prepared(encode(image, "PNG")).image_hash


def test_the_size_matters() -> None:
    """The same bytes of pixels in rows of another length are another picture."""
    image = mosaic(24, 16)
    other = Image.frombytes("RGB", (16, 24), image.tobytes())
    assert prepared(encode(image, "PNG")).image_hash != prepared(encode(other, "PNG")).image_hash


@pytest.mark.parametrize("turn", list(Image.Transpose), ids=lambda turn: turn.name)
def test_the_orientation_matters(turn: Image.Transpose) -> None:
    assert prepared(encode(mosaic(), "PNG")).image_hash != prepared(encode(mosaic().transpose(turn), "PNG")).image_hash


def test_a_hash_is_64_hex_digits() -> None:
    assert re.fullmatch("[0-9a-f]{64}", prepared(encode(mosaic(), "PNG")).image_hash)
