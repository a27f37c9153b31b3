"""How large a picture stays: by detail, by setting, and by being a document. The samples are drawn; the shares are in the README."""

import functools
from collections.abc import Callable

import pytest
from loadtests.pictures import samples
from PIL import Image
from tests.unit.pictures.rig import prepared

from sightline.pictures.policy import choose, fit, is_document
from sightline.settings import Images


def shrunk(image: Image.Image) -> Image.Image:
    return image.resize(fit(*image.size, 1024), Image.Resampling.BILINEAR, reducing_gap=2.0)


DOCUMENTS: dict[str, Callable[[], Image.Image]] = {
    "page-8pt": lambda: samples.document(letters=0.009),
    "page-12pt": lambda: samples.document(letters=0.014),
    "page-photographed": lambda: samples.photographed(samples.document(letters=0.012)),
    "grey-print": lambda: Image.blend(Image.new("RGB", (2480, 3508), "white"), samples.document(), 0.45),
    "screenshot": samples.screenshot,
    "screenshot-4k": lambda: samples.screenshot(3840, 2160, letters=26),
    "screenshot-phone": lambda: samples.screenshot(1170, 2532, letters=34),
}
OTHERS: dict[str, Callable[[], Image.Image]] = {
    "photo": lambda: samples.photo(2400, 1800),
    "photo-other": lambda: samples.photo(1600, 1200, 31),
    "leaves": lambda: samples.foliage(2400, 1800),
    "plain-screen": samples.plain_screen,
    "plate": samples.plate,
}


@functools.cache
def drawn(name: str) -> Image.Image:
    return (DOCUMENTS | OTHERS)[name]()


@pytest.mark.parametrize("name", DOCUMENTS)
def test_dense_small_text_is_a_document(name: str) -> None:
    assert is_document(shrunk(drawn(name)))


@pytest.mark.parametrize("name", OTHERS)
def test_what_has_little_text_is_none(name: str) -> None:
    assert not is_document(shrunk(drawn(name)))


@pytest.mark.parametrize(
    ("detail", "settings", "expected"),
    [
        (None, {}, (1024, 768)),
        ("auto", {}, (1024, 768)),
        ("low", {}, (512, 384)),
        ("high", {}, (2048, 1536)),
        ("high", {"prepare": "always"}, (1024, 768)),
        (None, {"prepare": "always", "longest_side": 640}, (640, 480)),
        (None, {"longest_side": 4000}, (2400, 1800)),
    ],
)
def test_the_longest_side(detail: str | None, settings: dict[str, str], expected: tuple[int, int]) -> None:
    picture = prepared(samples.encode(drawn("photo"), "JPEG"), detail, **settings)
    assert expected == (picture.width, picture.height)


@pytest.mark.parametrize("form", ["JPEG", "PNG"])
def test_a_document_keeps_more(form: str) -> None:
    """2480×3508 becomes 2048 high, from all its pixels, also where the JPEG was first shrunk further while it was decoded."""
    data = samples.encode(drawn("page-12pt"), form)
    picture = prepared(data)
    assert (picture.width, picture.height) == (1448, 2048)
    assert prepared(data, "high").image_hash == picture.image_hash


def test_a_document_below_the_limit_stays_as_it_is() -> None:
    data = samples.encode(drawn("screenshot"), "PNG")
    assert data == prepared(data).encoded


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({}, {"longest_side": 900}),
        ({}, {"document_side": 1800}),
        ({}, {"jpeg_quality": 95}),
        ({}, {"sharpen": True}),
        ({}, {"prepare": "always"}),
        ({}, {"prepare": "never"}),
    ],
)
def test_a_policy_with_another_result_has_another_name(one: dict[str, str], other: dict[str, str]) -> None:
    assert choose(Images.model_validate(one), None).name != choose(Images.model_validate(other), None).name


def test_sharpening_is_done_after_shrinking_only() -> None:
    small = samples.encode(drawn("photo").crop((0, 0, 400, 300)), "PNG")
    large = samples.encode(drawn("photo"), "PNG", compress_level=1)
    assert prepared(small).image_hash == prepared(small, sharpen=True).image_hash
    assert prepared(large).image_hash != prepared(large, sharpen=True).image_hash
