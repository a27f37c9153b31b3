"""A box found in the prepared picture is given in the pixels of the picture as sent, upright."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loadtests.pictures.samples import encode, photo
from PIL import Image
from tests.unit.pictures.rig import prepared

from sightline.pictures.imaging import Picture

LARGE = prepared(encode(photo(2048, 1024), "JPEG"))


def test_the_scale() -> None:
    assert ((LARGE.width, LARGE.height), LARGE.scale) == ((1024, 512), (2.0, 2.0))


def test_a_box_grows_back() -> None:
    assert LARGE.to_original((10, 20, 100, 200)) == (20, 40, 200, 400)


def test_a_box_beyond_the_edge_is_cut() -> None:
    assert LARGE.to_original((-5, -5, 5000, 5000)) == (0, 0, 2048, 1024)


@pytest.mark.parametrize("orientation", [6, 8])
def test_a_turned_picture_has_boxes_of_the_upright_one(orientation: int) -> None:
    tags = Image.Exif()
    tags[0x0112] = orientation
    picture = prepared(encode(photo(2048, 1024), "JPEG", exif=tags))
    assert (picture.width, picture.height, *picture.to_original((0, 0, 512, 1024))) == (512, 1024, 0, 0, 1024, 2048)


@given(x=st.floats(0, 700), y=st.floats(0, 500), left=st.floats(0, 99), top=st.floats(0, 99))
def test_a_cut_out_part_is_shifted(x: float, y: float, left: float, top: float) -> None:
    """The prepared picture may be a part of the original, at the same scale or another."""
    picture = Picture("0" * 64, b"", "image/png", 700, 500, 1000, 1000, as_sent=False, policy="", left=left, top=top)
    across, down = picture.scale
    assert picture.to_original((0, 0, x, y)) == (left, top, min(left + x * across, 1000), min(top + y * down, 1000))
