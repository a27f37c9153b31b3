"""The client's address is the rightmost that no trusted hop has; nothing that an untrusted hop writes can change it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.http.forwarded import client_address

ADDRESS = client_address(["10.0.0.0/8", "127.0.0.1/32", "2001:db8:1::/48"])

CASES = {
    "nobody forwarded": ("10.0.0.1", [], "10.0.0.1"),
    "one proxy": ("10.0.0.1", [b"203.0.113.9"], "203.0.113.9"),
    "two proxies": ("10.0.0.1", [b"203.0.113.9, 10.0.0.2"], "203.0.113.9"),
    "a claim before it": ("10.0.0.1", [b"1.1.1.1, 203.0.113.9"], "203.0.113.9"),
    "a claim of being trusted": ("10.0.0.1", [b"10.9.9.9, 203.0.113.9"], "203.0.113.9"),
    "two headers": ("10.0.0.1", [b"1.1.1.1", b"203.0.113.9, 10.0.0.2"], "203.0.113.9"),
    "not from a proxy": ("203.0.113.5", [b"203.0.113.9"], "203.0.113.5"),
    "with a port": ("10.0.0.1", [b"203.0.113.9:4711"], "203.0.113.9"),
    "IPv6": ("2001:db8:1::1", [b"2001:db8:2::2"], "2001:db8:2::2"),
    "IPv6 with a port": ("10.0.0.1", [b"[2001:db8:2::2]:443"], "2001:db8:2::2"),
    "a proxy over IPv6": ("::ffff:10.0.0.1", [b"203.0.113.9"], "203.0.113.9"),
    "IPv4 within IPv6": ("10.0.0.1", [b"::ffff:203.0.113.9"], "203.0.113.9"),
    "no address": ("10.0.0.1", [b"203.0.113.9, unknown"], "10.0.0.1"),
    "no address behind a proxy": ("10.0.0.1", [b"_hidden, 10.0.0.2"], "10.0.0.2"),
    "empty": ("10.0.0.1", [b""], "10.0.0.1"),
    "all trusted": ("10.0.0.1", [b"10.0.0.3, 10.0.0.2"], "10.0.0.3"),
    "a Unix socket": ("", [b"203.0.113.9"], ""),
}


@pytest.mark.parametrize(("peer", "forwarded", "client"), CASES.values(), ids=CASES.keys())
def test_the_nearest_stranger_is_the_client(peer: str, forwarded: list[bytes], client: str) -> None:
    assert ADDRESS(peer, forwarded) == client


@settings(deadline=None)  # the machine may be busy
@given(st.binary(max_size=200).filter(lambda claim: b"," not in claim))
def test_no_claim_is_believed(claim: bytes) -> None:
    assert ADDRESS("203.0.113.5", [claim]) == "203.0.113.5"
    assert ADDRESS("10.0.0.1", [claim + b",203.0.113.9"]) == "203.0.113.9"


def test_who_trusts_nobody_believes_nobody() -> None:
    assert client_address([])("127.0.0.1", [b"203.0.113.9"]) == "127.0.0.1"


def test_a_header_of_any_length_is_looked_at_so_far_only() -> None:
    assert ADDRESS("10.0.0.1", [b"203.0.113.9," + b"10.0.0.2," * 100_000 + b"10.0.0.3"]) == "10.0.0.2"
