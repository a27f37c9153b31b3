"""No packet reaches an address that is not public, however a URL or a name comes to it."""

import pytest
from tests.fakes.forbidden import FORBIDDEN
from tests.fakes.island import PICTURE, PUBLIC, Island

rows = pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())


def in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


@pytest.mark.parametrize("address", [PUBLIC, "2606:4700::1", "64:ff9b::5db8:d70e"])
@pytest.mark.parametrize("scheme_port", ["http://{}/a.png", "http://{}:80/a.png"])
def test_a_public_address_is_dialled(island: Island, address: str, scheme_port: str) -> None:
    assert island.fetch(scheme_port.format(in_url(address))).data == PICTURE
    assert island.dialled == [(address, 80)]


@rows
def test_an_address_in_the_url_is_not(island: Island, address: str) -> None:
    assert island.fetch(f"http://{in_url(address)}/a.png").code == "invalid_image_url"
    assert island.dialled == []


@rows
def test_an_address_behind_a_name_is_not(island: Island, address: str) -> None:
    island.names["pics.example.org"] = [[address]]
    assert island.fetch("http://pics.example.org/a.png").code == "failed_to_download_image"
    assert island.dialled == []


@rows
def test_an_address_beside_a_public_one_is_not_and_neither_is_that(island: Island, address: str) -> None:
    island.names["pics.example.org"] = [[PUBLIC, address, "2606:4700::1"]]
    assert island.fetch("http://pics.example.org/a.png").code == "failed_to_download_image"
    assert island.dialled == []


def test_a_name_with_public_addresses_only_is_dialled(island: Island) -> None:
    island.names["pics.example.org"] = [[PUBLIC, "2606:4700::1"]]
    assert island.fetch("http://pics.example.org/a.png").data == PICTURE
