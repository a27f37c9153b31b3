"""A redirect is judged like any other URL, and nothing is sent to where it may not lead."""

import pytest
from tests.fakes.bad_urls import BAD_URLS
from tests.fakes.forbidden import FORBIDDEN
from tests.fakes.island import PICTURE, PUBLIC, Island, redirect, reply

URL = f"http://{PUBLIC}/from"
LOCATIONS = {  # those that a header can hold; white space at its ends is not its value's
    reason: url
    for reason, url in BAD_URLS.items()
    if url[:4].lower() in {"http", "file", "goph", "data"} and url.isprintable() and url == url.strip() and len(url) < 8000
}


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_not_to_an_address_inside(island: Island, address: str) -> None:
    island.pages["/from"] = redirect(f"http://{f'[{address}]' if ':' in address else address}/a.png")
    assert island.fetch(URL).code == "failed_to_download_image"
    assert island.dialled == [(PUBLIC, 80)]


def test_not_to_a_name_that_points_inside(island: Island) -> None:
    island.names["pics.example.org"] = [["10.0.0.1"]]
    island.pages["/from"] = redirect("http://pics.example.org/a.png")
    assert island.fetch(URL).code == "failed_to_download_image"
    assert island.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("location", LOCATIONS.values(), ids=LOCATIONS.keys())
def test_not_to_a_url_that_is_written_to_deceive(island: Island, location: str) -> None:
    island.names["pics.example.org"] = [["8.8.8.8"]]
    island.pages["/from"] = redirect(location)
    assert island.fetch(URL).code == "failed_to_download_image"
    assert island.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("location", ["a.png", "/a.png", "//93.184.215.14/a.png", "../a.png", "?x=1"])
def test_a_relative_one_leads_where_it_says(island: Island, location: str) -> None:
    island.pages["/dir/from"] = redirect(location) if location != "?x=1" else reply()
    island.pages["/dir/a.png"] = reply()
    assert island.fetch(f"http://{PUBLIC}/dir/from").data == PICTURE


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary Redirect", "308 Permanent Redirect"])
def test_each_kind_is_followed(island: Island, status: str) -> None:
    island.pages["/from"] = redirect("http://8.8.8.8/a.png", status)
    assert island.fetch(URL).data == PICTURE
    assert island.dialled == [(PUBLIC, 80), ("8.8.8.8", 80)]


def test_three_are_followed_and_a_fourth_is_not(island: Island) -> None:
    island.pages |= {"/1": redirect("/2"), "/2": redirect("/3"), "/3": redirect("/a.png"), "/0": redirect("/1")}
    assert island.fetch(f"http://{PUBLIC}/1").data == PICTURE
    assert island.fetch(f"http://{PUBLIC}/0").code == "failed_to_download_image"


@pytest.mark.parametrize("page", [reply(b"", status="302 Found"), redirect("")], ids=["without a location", "with an empty one"])
def test_one_that_leads_nowhere_fails(island: Island, page: bytes) -> None:
    island.pages["/from"] = page
    assert island.fetch(URL).code == "failed_to_download_image"
