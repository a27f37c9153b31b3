"""EXIF orientation 1 to 8 ends upright in every container, and the rest of EXIF ends nowhere."""

from io import BytesIO

import pytest
from loadtests.pictures.samples import encode
from PIL import Image, ImageOps
from tests.unit.pictures.rig import corners, mosaic, prepared

FORMS = [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True})]


def exif(orientation: int) -> bytes:
    tags = Image.Exif()
    tags[0x0112] = orientation
    tags[0x010F] = "CanaryCamera"
    tags.get_ifd(0x8825)[2] = (48.0, 8.0, 11.0)
    return tags.tobytes()


@pytest.mark.parametrize(("form", "options"), FORMS, ids=[form for form, _ in FORMS])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_upright(form: str, options: dict[str, int], orientation: int) -> None:
    """Pillow's own `exif_transpose` of the same file is the measure."""
    data = encode(corners(), form, exif=exif(orientation), **options)
    expected = ImageOps.exif_transpose(Image.open(BytesIO(data))).convert("RGB")
    picture = prepared(data)
    got = Image.open(BytesIO(picture.encoded)).convert("RGB")
    assert expected.size == got.size == (picture.original_width, picture.original_height)
    for x, y in ((2, 2), (got.width - 3, 2), (2, got.height - 3), (got.width - 3, got.height - 3)):
        near = zip(expected.getpixel((x, y)), got.getpixel((x, y)), strict=True)  # type: ignore[arg-type]  # RGB has tuples
        assert all(abs(a - b) < 12 for a, b in near)


@pytest.mark.parametrize(("form", "options"), FORMS, ids=[form for form, _ in FORMS])
def test_metadata_is_dropped(form: str, options: dict[str, int]) -> None:
    data = encode(corners(), form, exif=exif(1), **options)
    picture = prepared(data)
    assert b"CanaryCamera" in data
    assert b"CanaryCamera" not in picture.encoded
    assert not Image.open(BytesIO(picture.encoded)).getexif()


def test_turning_comes_before_the_identity() -> None:
    """A picture stored on its side with EXIF to say so is the picture stored upright."""
    upright = mosaic()
    on_its_side = upright.transpose(Image.Transpose.ROTATE_90)
    turned = encode(on_its_side, "PNG", exif=exif(6))
    assert prepared(encode(upright, "PNG")).image_hash == prepared(turned).image_hash


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_there_is_not_means_upright(orientation: int) -> None:
    assert prepared(encode(mosaic(), "PNG", exif=exif(orientation))).image_hash == prepared(encode(mosaic(), "PNG")).image_hash
