"""A picture that will not be opened is refused by name before an engine hears of it; what it says it is does not matter."""

import base64
import struct

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess
from tests.shapes import ask, data_uri, picture, refusal


def png_header(width: int, height: int) -> bytes:
    """A PNG that says it is this large, and holds next to nothing."""
    size = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + name + content + bytes(4) for name, content in ((b"IHDR", size), (b"IEND", b""))
    )


URLS = {
    "no base64 mark": ("data:image/png,AAAA", "invalid_image_url"),
    "no comma": ("data:image/png;base64", "invalid_image_url"),
    "another scheme": ("ftp://example.org/x.png", "invalid_image_url"),
    "a file": ("file:///etc/passwd", "invalid_image_url"),
    "no URL at all": ("not a url", "invalid_image_url"),
    "nothing": ("", "invalid_image_url"),
    "url-safe alphabet": ("data:image/png;base64,-_-_", "invalid_base64_image"),
    "white space": (data_uri(picture()).replace("iVBOR", "iVB OR"), "invalid_base64_image"),
    "wrong padding": (data_uri(picture()).rstrip("=") + "===", "invalid_base64_image"),
    "characters outside ASCII": ("data:image/png;base64,ÄÖÜ=", "invalid_base64_image"),
    "long and wrong in the middle": ("data:image/png;base64," + "A" * 800 + "!" + "A" * 799, "invalid_base64_image"),
    "no bytes": ("data:image/png;base64,", "empty_image_file"),
    "an SVG": (data_uri(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), "unsupported_image_media_type"),
    "HTML": (data_uri(b"<!doctype html><p>hello"), "unsupported_image_media_type"),
    "a PDF": (data_uri(b"%PDF-1.7\n"), "unsupported_image_media_type"),
    "a TIFF": (data_uri(picture(form="TIFF")), "unsupported_image_media_type"),
    "an icon": (data_uri(picture(64, 64, form="ICO")), "unsupported_image_media_type"),
    "noise": (data_uri(bytes(range(1, 200))), "unsupported_image_media_type"),
    "a PNG's first bytes": (data_uri(picture()[:20]), "image_parse_error"),
    "a PNG cut off": (data_uri(picture(200, 200)[:-30]), "image_parse_error"),
    "1×1": (data_uri(picture(1, 1)), "image_too_small"),
    "400 million pixels": (data_uri(png_header(20_000, 20_000)), "image_too_large"),
    "65535×8": (data_uri(png_header(65_535, 8)), "invalid_value"),
}


@pytest.mark.parametrize(("url", "code"), URLS.values(), ids=URLS.keys())
def test_a_wrong_picture_is_refused_by_name(gateway: GatewayProcess, engine: FakeEngine, url: str, code: str) -> None:
    error = refusal(gateway.chat(ask(pictures=(url,))), 400, code)

    assert error["param"] == "messages[0].content[0].image_url.url"
    assert engine.calls == []


def test_of_several_pictures_the_wrong_one_is_named(gateway: GatewayProcess) -> None:
    error = refusal(gateway.chat(ask(pictures=(data_uri(picture()), data_uri(b"<svg/>")))), 400, "unsupported_image_media_type")

    assert error["param"] == "messages[0].content[1].image_url.url"


def test_more_pictures_than_allowed_are_refused_unopened(strict: GatewayProcess) -> None:
    error = refusal(strict.chat(ask(pictures=(data_uri(b"not a picture"),) * 3)), 400, "too_many_images")

    assert "2" in error["message"]


def test_a_picture_of_too_many_bytes_is_413(strict: GatewayProcess) -> None:
    large = picture() + bytes(20_001)

    error = refusal(strict.chat(ask(pictures=(data_uri(large),))), 413, "image_file_too_large")

    assert error["param"] == "messages[0].content[0].image_url.url"


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF"])
@pytest.mark.parametrize("declared", ["image/png", "image/jpeg", "text/html", "x"])
def test_the_declared_type_is_not_asked(gateway: GatewayProcess, form: str, declared: str) -> None:
    assert gateway.chat(ask(pictures=(data_uri(picture(form=form), declared),))).status_code == 200


def test_a_message_never_repeats_the_picture(gateway: GatewayProcess) -> None:
    canary = base64.b64encode(b"canary" * 20).decode()

    response = gateway.chat(ask(pictures=(f"data:image/png;base64,{canary}",)))

    assert response.status_code == 400
    assert canary[:16] not in response.text
