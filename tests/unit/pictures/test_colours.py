"""Every colour mode that the four formats can hold comes out as the right RGB."""

import struct
import zlib
from io import BytesIO

import pytest
from loadtests.pictures.samples import encode
from PIL import Image, ImageCms
from tests.unit.pictures.rig import prepared


def pixel(data: bytes) -> tuple[int, ...]:
    """The middle pixel as the engine will decode it."""
    picture = prepared(data)
    image = Image.open(BytesIO(picture.encoded))
    assert not image.has_transparency_data or picture.as_sent
    found = image.convert("RGB").getpixel((picture.width // 2, picture.height // 2))
    assert isinstance(found, tuple)
    return tuple(int(part) for part in found)


def png(depth: int, colour: int, sample: bytes, side: int = 16) -> bytes:
    """A PNG of one colour, bit by bit as W3C PNG 11.2 lays it out: Pillow itself cannot write all of these."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    rows = (b"\x00" + sample * side) * side
    header = struct.pack(">IIBBBBB", side, side, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def palette_with_alpha() -> bytes:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 200, 40, 40])
    return encode(image, "PNG", transparency=b"\xff\x80")


def transparent_gif() -> bytes:
    image = Image.new("P", (16, 16), 1)
    image.putpalette([0, 0, 0, 10, 200, 30])
    return encode(image, "GIF", transparency=1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        pytest.param(encode(Image.new("L", (16, 16), 77), "PNG"), (77, 77, 77), id="grey"),
        pytest.param(encode(Image.new("L", (16, 16), 77), "JPEG"), (77, 77, 77), id="grey-jpeg"),
        pytest.param(encode(Image.new("1", (16, 16), 1), "PNG"), (255, 255, 255), id="1-bit-white"),
        pytest.param(encode(Image.new("1", (16, 16), 0), "PNG"), (0, 0, 0), id="1-bit-black"),
        pytest.param(encode(Image.new("LA", (16, 16), (0, 128)), "PNG"), (127, 127, 127), id="grey-and-alpha"),
        pytest.param(encode(Image.new("RGBA", (16, 16), (255, 0, 0, 0)), "PNG"), (255, 255, 255), id="fully-transparent"),
        pytest.param(encode(Image.new("RGBA", (16, 16), (255, 0, 0, 128)), "PNG"), (255, 127, 127), id="half-transparent"),
        pytest.param(encode(Image.new("RGBA", (16, 16), (12, 34, 56, 255)), "PNG"), (12, 34, 56), id="opaque-alpha"),
        pytest.param(encode(Image.new("RGBA", (16, 16), (255, 0, 0, 128)), "WEBP", lossless=True), (255, 127, 127), id="webp-alpha"),
        pytest.param(palette_with_alpha(), (227, 147, 147), id="palette-and-alpha"),
        pytest.param(encode(Image.new("RGB", (16, 16), (9, 8, 7)), "PNG", transparency=(9, 8, 7)), (255, 255, 255), id="colour-key"),
        pytest.param(transparent_gif(), (255, 255, 255), id="gif-transparent"),
        pytest.param(png(16, 0, b"\x80\x81"), (128, 128, 128), id="16-bit-grey"),
        pytest.param(png(16, 2, b"\x80\x81\x40\x00\xff\xff"), (128, 64, 255), id="16-bit-rgb"),
        pytest.param(png(16, 4, b"\x00\x00\x80\x80"), (127, 127, 127), id="16-bit-grey-and-alpha"),
        pytest.param(png(16, 6, b"\xff\xff\x00\x00\x00\x00\x80\x80"), (255, 127, 127), id="16-bit-rgba"),
    ],
)
def test_a_mode_becomes_rgb_on_white(data: bytes, expected: tuple[int, int, int]) -> None:
    assert expected == pixel(data)


def test_cmyk_ink_becomes_light() -> None:
    """Cyan ink at full is a JPEG's CMYK (255, 0, 0, 0); inverted or taken as RGB it would be red or black."""
    red, green, blue = pixel(encode(Image.new("CMYK", (16, 16), (255, 0, 0, 0)), "JPEG", quality=95))
    assert red < 60
    assert green > 130
    assert blue > 180


@pytest.mark.parametrize(("form", "options"), [("PNG", {}), ("JPEG", {"quality": 95}), ("WEBP", {"lossless": True})], ids=str)
def test_a_profile_other_than_srgb_is_applied(form: str, options: dict[str, int]) -> None:
    """With red and green exchanged in the profile, what was sent as red means green."""
    red, green, _ = pixel(encode(Image.new("RGB", (16, 16), (180, 100, 100)), form, icc_profile=SWAPPED, **options))
    assert red + 40 < green


def test_a_profile_that_is_srgb_changes_nothing() -> None:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert pixel(encode(Image.new("RGB", (16, 16), (180, 100, 100)), "PNG", icc_profile=srgb)) == (180, 100, 100)


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"no profile at all", id="nonsense"),
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()[:300], id="cut-off"),
        pytest.param(ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes(), id="for-other-colours"),
    ],
)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_a_broken_profile_is_as_none(form: str, profile: bytes) -> None:
    options = {"lossless": True} if form == "WEBP" else {}
    red, green, blue = pixel(encode(Image.new("RGB", (16, 16), (180, 100, 100)), form, icc_profile=profile, **options))
    assert abs(red - 180) <= 2
    assert abs(green - 100) <= 2
    assert abs(blue - 100) <= 2


def _swapped_profile() -> bytes:
    """SRGB's profile with its red and green primaries exchanged and another name: unmistakable when it is applied."""
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace(b"rXYZ", b"tXYZ").replace(b"gXYZ", b"rXYZ").replace(b"tXYZ", b"gXYZ")
    return profile.replace("sRGB".encode("utf-16-be"), "wide".encode("utf-16-be")).replace(b"sRGB", b"wide")


SWAPPED = _swapped_profile()
