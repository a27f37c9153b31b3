"""Whatever is done to a file, it becomes a Picture or is refused cleanly: never another exception, which would be a 500."""

from io import BytesIO

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from loadtests.pictures.samples import encode, photo, screenshot
from PIL import Image, ImageCms

from sightline.errors import PictureRefused
from sightline.pictures import headers, imaging, policy
from sightline.settings import Images

SETTINGS = Images()
POLICY = policy.choose(Images(longest_side=48, document_side=64), None)
PHOTO = photo(80, 60)
ICC = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def exif() -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = 6
    tags.get_ifd(0x8825)[2] = (48.0, 8.0, 11.0)
    return tags


SEEDS = {
    "jpeg": encode(PHOTO, "JPEG"),
    "jpeg-progressive-exif-icc": encode(PHOTO, "JPEG", progressive=True, exif=exif(), icc_profile=ICC, comment=b"note"),
    "jpeg-cmyk": encode(PHOTO.convert("CMYK"), "JPEG"),
    "jpeg-grey": encode(PHOTO.convert("L"), "JPEG"),
    "png": encode(PHOTO, "PNG"),
    "png-palette-alpha": encode(screenshot(80, 60).quantize(16), "PNG", transparency=3, exif=exif(), icc_profile=ICC),
    "png-16-bit": encode(Image.new("I;16", (40, 30), 3000), "PNG"),
    "png-1-bit": encode(PHOTO.convert("1"), "PNG"),
    "png-animated": encode(PHOTO, "PNG", save_all=True, append_images=[PHOTO.transpose(Image.Transpose.ROTATE_180)]),
    "webp": encode(PHOTO, "WEBP", exif=exif(), icc_profile=ICC),
    "webp-lossless-alpha": encode(PHOTO.convert("RGBA"), "WEBP", lossless=True),
    "webp-animated": encode(PHOTO, "WEBP", save_all=True, append_images=[PHOTO.transpose(Image.Transpose.ROTATE_180)]),
    "gif": encode(PHOTO, "GIF"),
    "gif-animated": encode(PHOTO, "GIF", save_all=True, append_images=[PHOTO.transpose(Image.Transpose.ROTATE_180)]),
}

# A flip near the start hits headers, one anywhere hits the rest: both are drawn often.
flips = st.lists(st.tuples(st.one_of(st.integers(0, 120), st.integers(0, 20_000)), st.integers(1, 255)), max_size=8)


@pytest.mark.filterwarnings("ignore::UserWarning")  # Pillow remarks on damage that it survives
@pytest.mark.parametrize("seed", SEEDS.values(), ids=SEEDS)
@given(flips=flips, length=st.one_of(st.none(), st.integers(0, 20_000)), tail=st.binary(max_size=8))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_picture_or_a_clean_refusal(seed: bytes, flips: list[tuple[int, int]], length: int | None, tail: bytes) -> None:
    damaged = bytearray(seed[:length])
    for place, change in flips:
        if damaged:
            damaged[place % len(damaged)] ^= change
    data = bytes(damaged) + tail
    try:
        picture = imaging.prepare(data, headers.read(data, SETTINGS), POLICY)
    except PictureRefused:
        return
    image = Image.open(BytesIO(picture.encoded))
    image.load()
    assert (picture.width, picture.height) == image.size


@pytest.mark.parametrize(
    "start", [b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF\x40\x00\x00\x00WEBPVP8X", b"RIFF\x40\x00\x00\x00WEBPVP8L", b"GIF89a"]
)
@given(rest=st.binary(max_size=300))
def test_a_header_is_read_or_refused(start: bytes, rest: bytes) -> None:
    try:
        header = headers.read(start + rest, SETTINGS)
    except PictureRefused:
        return
    assert header.width * header.height <= SETTINGS.max_pixels
