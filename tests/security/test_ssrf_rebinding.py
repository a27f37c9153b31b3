"""A name that changes its answer between one look and the next is dialled at an address that was checked, or not at all."""

import errno
import socket

import pytest
from tests.fakes.forbidden import FORBIDDEN
from tests.fakes.island import PICTURE, PUBLIC, Island

from sightline.pictures.addresses import Addresses
from sightline.pictures.dialling import Guard, NotDialled


def test_what_was_checked_is_dialled_whatever_the_name_says_next(island: Island) -> None:
    island.names["pics.example.org"] = [[PUBLIC], ["127.0.0.1"]]
    assert island.fetch("http://pics.example.org/a.png").data == PICTURE
    assert island.dialled == [(PUBLIC, 80)]


def test_what_it_says_next_is_checked_too(island: Island) -> None:
    island.names["pics.example.org"] = [[PUBLIC], ["169.254.169.254"]]
    for _ in range(3):
        island.fetch("http://pics.example.org/a.png")
    assert island.dialled == [(PUBLIC, 80)]


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_even_past_the_resolver_there_is_no_socket_for_it(address: str) -> None:
    guard = Guard(Addresses().permit, _nobody)
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with pytest.raises(NotDialled):
        guard.socket((family, socket.SOCK_STREAM, 6, "", (address, 80, 0, 0) if ":" in address else (address, 80)))


def test_nor_for_a_public_address_over_a_link_of_its_choice() -> None:
    with pytest.raises(NotDialled):
        Guard(Addresses().permit, _nobody).socket((socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("2606:4700::1", 80, 0, 1)))


async def _nobody(host: str) -> list[str]:
    raise OSError(errno.ENOENT, host)
