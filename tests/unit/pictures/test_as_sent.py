"""What is already exactly a prepared picture goes on byte for byte; what is not is encoded anew, and its extras are gone."""

from io import BytesIO
from typing import Any

import pytest
from loadtests.pictures.samples import encode, photo, screenshot
from PIL import Image, ImageCms, PngImagePlugin
from tests.unit.pictures.rig import mosaic, prepared

PHOTO = photo(640, 480)
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def text() -> PngImagePlugin.PngInfo:
    found = PngImagePlugin.PngInfo()
    found.add_itxt("note", "canary", zip=True)
    return found


@pytest.mark.parametrize(
    ("image", "form", "options"),
    [
        pytest.param(PHOTO, "JPEG", {"quality": 80}, id="jpeg"),
        pytest.param(PHOTO, "JPEG", {"progressive": True}, id="progressive-jpeg"),
        pytest.param(PHOTO.convert("L"), "JPEG", {}, id="grey-jpeg"),
        pytest.param(PHOTO, "JPEG", {"restart_marker_blocks": 4}, id="jpeg-with-restarts"),
        pytest.param(PHOTO, "PNG", {}, id="png"),
        pytest.param(PHOTO.convert("L"), "PNG", {}, id="grey-png"),
        pytest.param(PHOTO.convert("RGBA"), "PNG", {}, id="png-with-opaque-alpha"),
        pytest.param(screenshot(800, 500).quantize(32), "PNG", {}, id="palette-png"),
        pytest.param(PHOTO, "PNG", {"dpi": (96, 96)}, id="png-with-dpi"),
        pytest.param(PHOTO, "WEBP", {}, id="webp"),
        pytest.param(PHOTO, "WEBP", {"lossless": True, "method": 0}, id="lossless-webp"),
    ],
)
def test_passed_on(image: Image.Image, form: str, options: dict[str, Any]) -> None:
    data = encode(image, form, **options)
    picture = prepared(data)
    assert picture.as_sent
    assert data == picture.encoded
    assert f"image/{form.lower()}" == picture.media_type


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(encode(PHOTO, "JPEG", comment=b"canary"), id="jpeg-comment"),
        pytest.param(encode(PHOTO, "JPEG", icc_profile=SRGB + b"canary"), id="jpeg-profile"),
        pytest.param(encode(PHOTO, "JPEG") + b"canary", id="jpeg-tail"),
        pytest.param(encode(PHOTO, "JPEG") + b"canary\xff\xd9", id="jpeg-tail-that-ends-well"),
        pytest.param(encode(PHOTO, "JPEG", xmp=b"canary"), id="jpeg-xmp"),
        pytest.param(encode(PHOTO, "PNG", pnginfo=text()), id="png-text"),
        pytest.param(encode(PHOTO, "PNG") + b"canary", id="png-tail"),
        pytest.param(encode(PHOTO, "PNG", icc_profile=SRGB), id="png-profile"),
        pytest.param(encode(PHOTO, "WEBP", xmp=b"canary"), id="webp-xmp"),
        pytest.param(encode(PHOTO, "WEBP") + b"canary", id="webp-tail"),
        pytest.param(encode(PHOTO, "GIF", comment=b"canary"), id="gif"),
        pytest.param(encode(PHOTO, "PNG", save_all=True, append_images=[mosaic(640, 480)]), id="animated-png"),
        pytest.param(encode(PHOTO, "WEBP", save_all=True, append_images=[mosaic(640, 480)]), id="animated-webp"),
    ],
)
def test_cleaned(data: bytes) -> None:
    picture = prepared(data)
    assert not picture.as_sent
    assert b"canary" not in picture.encoded
    image = Image.open(BytesIO(picture.encoded))
    assert (image.size, getattr(image, "n_frames", 1)) == ((640, 480), 1)
    assert not {"icc_profile", "exif", "xmp", "comment", "note"} & image.info.keys()


@pytest.mark.parametrize(
    ("data", "media_type"),
    [
        pytest.param(encode(screenshot(3840, 2160, letters=26), "PNG"), "image/png", id="screenshot-stays-lossless"),
        pytest.param(encode(mosaic(200, 100), "PNG", pnginfo=text()), "image/png", id="small-stays-lossless"),
        pytest.param(encode(photo(2400, 1800), "PNG", compress_level=1), "image/jpeg", id="lossless-photo-does-not"),
        pytest.param(encode(photo(2400, 1800), "WEBP", method=0), "image/jpeg", id="lossy-webp"),
    ],
)
def test_what_it_is_encoded_as(data: bytes, media_type: str) -> None:
    assert media_type == prepared(data).media_type


def test_a_jpeg_is_encoded_without_chroma_subsampling() -> None:
    """Red print on white keeps its edges."""
    picture = prepared(encode(PHOTO, "JPEG", comment=b"x"))
    image = Image.open(BytesIO(picture.encoded))
    assert all((across, down) == (1, 1) for _, across, down, _ in image.layer)  # type: ignore[attr-defined]  # of JPEG files only


def test_the_first_frame_is_the_picture() -> None:
    first, second = mosaic(seed=1), mosaic(seed=2)
    data = encode(first, "PNG", save_all=True, append_images=[second])
    assert prepared(encode(first, "PNG")).image_hash == prepared(data).image_hash
