"""SECURITY's list of bad pictures, row by row: each is refused with its own code, or comes out clean."""

import asyncio
import base64
import struct
import time
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import Any

import pytest
from loadtests.pictures.samples import encode, photo
from PIL import Image, PngImagePlugin

from sightline.errors import PictureRefused
from sightline.pictures.prepare import Pictures
from sightline.settings import Images
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import PictureSource

PARAM = "messages[0].content[1].image_url.url"
SMALL = photo(64, 48)
JPEG, PNG, WEBP, GIF = (encode(SMALL, form) for form in ("JPEG", "PNG", "WEBP", "GIF"))


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png(width: int, height: int, pixels: bytes = b"", *extra: bytes) -> bytes:
    """A 1-bit grey PNG that claims `width` × `height`."""
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"".join((b"\x89PNG\r\n\x1a\n", chunk(b"IHDR", header), *extra, chunk(b"IDAT", pixels), chunk(b"IEND", b"")))


def bomb() -> bytes:
    """400 Mpx of nothing in 50 kB."""
    deflate = zlib.compressobj(9)
    return png(20_000, 20_000, deflate.compress(bytes(2501 * 20_000)) + deflate.flush())


def gif_beyond_its_screen() -> bytes:
    """A screen of 16×16 and a first frame of 65535×65535."""
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", 16, 16, 0x80, 0, 0)
        + bytes(6)
        + b","
        + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0)
        + b"\x02\x02\x4c\x01\x00;"
    )


def webp_beyond_its_canvas() -> bytes:
    """A canvas of 16×16 and a bitstream of 64×48."""
    inner = encode(SMALL, "WEBP", lossless=True)[12:]
    extended = b"VP8X" + struct.pack("<I", 10) + bytes(4) + b"\x0f\x00\x00\x0f\x00\x00"
    return b"RIFF" + struct.pack("<I", 4 + len(extended) + len(inner)) + b"WEBP" + extended + inner


def jpeg_of(width: int, height: int) -> bytes:
    """The small JPEG with another size in its frame header (which begins FF C0, length, precision)."""
    at = JPEG.index(b"\xff\xc0") + 5
    return JPEG[:at] + struct.pack(">HH", height, width) + JPEG[at + 4 :]


def b64(data: bytes) -> bytes:
    return base64.b64encode(data)


@pytest.fixture
async def identify() -> Any:
    """Runs one base64 payload (or several) through the door; the metrics counted beside it."""
    made: list[Pictures] = []

    async def run(*payloads: bytes, metrics: Metrics | None = None, **settings: Any) -> Any:
        async def fetch(source: PictureSource) -> bytes:
            raise AssertionError("nothing is fetched here")

        made.append(Pictures(Images(**settings), metrics or Metrics(), fetch))
        return await made[-1].identify([PictureSource(i, PARAM, None, payload, None) for i, payload in enumerate(payloads)])

    yield run
    for pictures in made:
        await pictures.close()


Identify = Callable[..., Any]

REFUSED = [
    pytest.param(b64(bomb()), "image_too_large", id="400-megapixels-in-50-kB"),
    pytest.param(b64(png(65_535, 65_535)), "image_too_large", id="65535-squared"),
    pytest.param(b64(jpeg_of(65_500, 65_500)), "image_too_large", id="jpeg-of-4-gigapixels"),
    pytest.param(b64(png(2**31 - 1, 2**31 - 1)), "image_too_large", id="png-of-all-there-is"),
    pytest.param(b64(png(65_535, 1)), "image_too_small", id="65535-by-1"),
    pytest.param(b64(png(1, 1)), "image_too_small", id="1-by-1"),
    pytest.param(b64(png(7, 300)), "image_too_small", id="7-wide"),
    pytest.param(b64(png(8, 1601)), "invalid_value", id="thinner-than-1-to-200"),
    pytest.param(b64(png(0, 64)), "image_parse_error", id="no-width"),
    pytest.param(b"", "empty_image_file", id="zero-length"),
    pytest.param(b64(JPEG[:-200]), "image_parse_error", id="truncated-jpeg"),
    pytest.param(b64(JPEG[:30]), "image_parse_error", id="jpeg-of-30-bytes"),
    pytest.param(b64(PNG[:-40]), "image_parse_error", id="truncated-png"),
    pytest.param(b64(PNG[:20]), "image_parse_error", id="png-of-20-bytes"),
    pytest.param(b64(WEBP[:-40]), "image_parse_error", id="truncated-webp"),
    pytest.param(b64(WEBP[:14]), "image_parse_error", id="webp-of-14-bytes"),
    pytest.param(b64(GIF[:8]), "image_parse_error", id="gif-of-8-bytes"),
    pytest.param(b64(PNG[:45] + bytes([PNG[45] ^ 255]) + PNG[46:]), "image_parse_error", id="bad-crc"),
    pytest.param(b64(PNG[:29] + b"\x00\x00\x00\x00" + PNG[33:]), "image_parse_error", id="bad-crc-of-the-header"),
    pytest.param(b64(png(64, 64, b"not deflate")), "image_parse_error", id="no-pixels"),
    pytest.param(b64(b"\xff\xd8\xff\xe0" + bytes(100)), "image_parse_error", id="jpeg-in-name-only"),
    pytest.param(b64(png(64, 64, b"", *([chunk(b"teXt", b"")] * 30_000))), "image_parse_error", id="30000-chunks"),
    pytest.param(b64(gif_beyond_its_screen()), "image_parse_error", id="gif-frame-beyond-its-screen"),
    pytest.param(b64(GIF[:6] + struct.pack("<HH", 32, 32) + GIF[10:]), "image_parse_error", id="gif-frame-a-little-beyond-its-screen"),
    pytest.param(b64(webp_beyond_its_canvas()), "image_parse_error", id="webp-beyond-its-canvas"),
    pytest.param(b64(b'<svg xmlns="http://www.w3.org/2000/svg"/>'), "unsupported_image_media_type", id="svg"),
    pytest.param(b64(b'\xef\xbb\xbf\n<?xml version="1.0"?><svg/>'), "unsupported_image_media_type", id="svg-with-a-mark"),
    pytest.param(b64(b"<!doctype html><script>alert(1)</script>"), "unsupported_image_media_type", id="html"),
    pytest.param(b64(b"%PDF-1.7\n%"), "unsupported_image_media_type", id="pdf"),
    pytest.param(b64(encode(SMALL, "TIFF")), "unsupported_image_media_type", id="tiff"),
    pytest.param(b64(encode(SMALL, "ICO")), "unsupported_image_media_type", id="icon"),
    pytest.param(b64(encode(SMALL, "BMP")), "unsupported_image_media_type", id="bmp"),
    pytest.param(b64(b"\x00" * 999), "unsupported_image_media_type", id="nothing-known"),
    pytest.param(base64.urlsafe_b64encode(b"\xff\xd8\xff\xfb\xef\xbe" * 9), "invalid_base64_image", id="url-safe-base64"),
    pytest.param(b64(bytes(100)).replace(b"==", b"="), "invalid_base64_image", id="padded-too-little"),
    pytest.param(b64(bytes(100)).replace(b"==", b"==="), "invalid_base64_image", id="padded-too-much"),
    pytest.param(b64(bytes(100)).replace(b"==", b""), "invalid_base64_image", id="not-padded"),
    pytest.param(b" " + b64(PNG), "invalid_base64_image", id="leading-space"),
    pytest.param(base64.encodebytes(PNG), "invalid_base64_image", id="line-breaks"),
    pytest.param(b64(PNG)[:40] + b"\x00" + b64(PNG)[40:], "invalid_base64_image", id="nul"),
    pytest.param("Ünïcode".encode(), "invalid_base64_image", id="not-ascii"),
]


@pytest.mark.parametrize(("payload", "code"), REFUSED)
async def test_refused(identify: Identify, payload: bytes, code: str) -> None:
    """With its code, the name of the part of the request, a message that quotes no library, and a count."""
    metrics = Metrics()
    with pytest.raises(PictureRefused) as refused:
        await identify(payload, metrics=metrics)
    assert (code, PARAM, 400) == (refused.value.code, refused.value.param, refused.value.status)
    assert not any(word in refused.value.message for word in ("Error", "PIL", "Traceback", "0x"))
    assert metrics.registry.get_sample_value("sightline_image_rejected_total", {"code": code}) == 1


@pytest.mark.parametrize("payload", [b64(JPEG + bytes(21 * 2**20)), b"A" * (28 * 2**20)], ids=["jpeg", "nonsense"])
async def test_more_than_20_mb_are_413(identify: Identify, payload: bytes) -> None:
    with pytest.raises(PictureRefused) as refused:
        await identify(payload)
    assert (refused.value.code, refused.value.status) == ("image_file_too_large", 413)


async def test_a_hundred_pictures_are_refused_unopened(identify: Identify) -> None:
    """Counted first: not even their base64 is looked at."""
    with pytest.raises(PictureRefused) as refused:
        await identify(*[b"!"] * 100)
    assert refused.value.code == "too_many_images"


async def test_one_bad_picture_refuses_the_request_before_any_is_decoded(identify: Identify) -> None:
    metrics = Metrics()
    with pytest.raises(PictureRefused):
        await identify(b64(JPEG), b64(png(1, 1)), metrics=metrics)
    assert metrics.registry.get_sample_value("sightline_image_prepare_seconds_count") == 0


def with_text(*, zipped: bool, size: int = 8 * 2**20) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "canary " * (size // 7), zip=zipped)
    return encode(SMALL, "PNG", pnginfo=text)


def with_profile_bomb(form: str) -> bytes:
    if form == "PNG":
        return PNG[:33] + chunk(b"iCCP", b"icc\x00\x00" + zlib.compress(bytes(64 * 2**20), 9)) + PNG[33:]
    return encode(SMALL, form, icc_profile=b"canary " * (2**20))


def animated(form: str, frames: int, **options: Any) -> bytes:
    turns = (SMALL, SMALL.transpose(Image.Transpose.ROTATE_180))
    return encode(SMALL, form, save_all=True, append_images=[turns[number % 2] for number in range(1, frames)], **options)


def gif_frames(count: int) -> bytes:
    """The one frame of a GIF, over and over: it stands between the palette and the trailer."""
    start = 13 + 3 * 2 ** ((GIF[10] & 7) + 1)
    return GIF[:start] + GIF[start:-1] * count + b";"


CLEANED: list[Any] = [
    pytest.param(lambda: with_text(zipped=True), id="huge-itxt-deflated"),
    pytest.param(lambda: with_text(zipped=False), id="huge-itxt"),
    pytest.param(lambda: with_profile_bomb("PNG"), id="png-profile-bomb"),
    pytest.param(lambda: with_profile_bomb("WEBP"), id="webp-profile-of-7-MB"),
    pytest.param(lambda: with_profile_bomb("JPEG"), id="jpeg-profile-of-7-MB"),
    pytest.param(lambda: gif_frames(3000), id="gif-of-3000-frames"),
    pytest.param(lambda: animated("WEBP", 200, method=0), id="webp-of-200-frames"),
    pytest.param(lambda: animated("PNG", 2000, compress_level=1), id="png-of-2000-frames"),
    pytest.param(lambda: JPEG + b"PK\x03\x04canary<script>", id="jpeg-and-zip"),
    pytest.param(lambda: PNG + b"<?php canary ?>", id="png-and-script"),
    pytest.param(lambda: WEBP + b"%PDF-canary", id="webp-and-pdf"),
    pytest.param(lambda: GIF + b"canary", id="gif-and-tail"),
]


@pytest.mark.parametrize("drawn", CLEANED)
async def test_accepted_and_clean(identify: Identify, drawn: Callable[[], bytes]) -> None:
    """The pixels are right, and nothing else of the file is left."""
    (identified,) = await identify(b64(drawn()))
    picture = identified.picture
    assert picture is not None
    assert not picture.as_sent
    assert b"canary" not in picture.encoded
    image = Image.open(BytesIO(picture.encoded))
    assert (image.size, getattr(image, "n_frames", 1)) == ((64, 48), 1)
    assert len(picture.encoded) < 20_000


async def test_a_declared_type_is_not_asked(identify: Identify) -> None:
    """What stands before `;base64,` never gets here: a PNG is a PNG under any name."""
    (identified,) = await identify(b64(PNG))
    assert identified.picture.media_type == "image/png"


async def test_the_largest_picture_that_is_allowed(identify: Identify) -> None:
    (identified,) = await identify(b64(encode(Image.new("L", (5742, 5742), 200), "PNG")))
    assert (identified.original, (identified.width, identified.height)) == ((5742, 5742), (1024, 1024))


async def test_the_loop_goes_on_while_pictures_are_decoded(identify: Identify) -> None:
    """A timer that should fire each 5 ms is never late by as much as the decode takes, which would be so if it ran on the loop."""
    data = b64(encode(photo(3200, 2400), "PNG", compress_level=1))
    latest, done = 0.0, False

    async def tick() -> None:
        nonlocal latest
        while not done:
            before = time.perf_counter()
            await asyncio.sleep(0.005)
            latest = max(latest, time.perf_counter() - before)

    ticking = asyncio.create_task(tick())
    began = time.perf_counter()
    await identify(data)
    done = True
    await ticking
    assert latest < (time.perf_counter() - began) / 2
