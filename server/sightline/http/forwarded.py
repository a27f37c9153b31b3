"""Whose address a request came from, where proxies stand in front: told by them, and believed of them only."""

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

MOST_HOPS = 16  # addresses in the header that are looked at; nobody has more proxies, and a caller may write any number

Address = IPv4Address | IPv6Address
ClientAddress = Callable[[str, Sequence[bytes]], str]


def client_address(trusted: Sequence[str]) -> ClientAddress:
    """A function of (the connection's address, the X-Forwarded-For headers in order): the client's address.

    Each proxy adds whom it was asked by at the right; so from the right, the first who is not in a `trusted` network is the client, and
    whatever stands further left is what that client claims. A hop that is no address ends the walk at the proxy that wrote it.
    """
    networks = tuple(ip_network(word) for word in trusted)
    return lambda peer, forwarded: _nearest_stranger(peer, forwarded, networks)


def _nearest_stranger(peer: str, forwarded: Sequence[bytes], trusted: tuple[IPv4Network | IPv6Network, ...]) -> str:
    nearest = peer
    hops = b",".join(forwarded).rsplit(b",", MOST_HOPS)[-MOST_HOPS:]
    while is_within(nearest, trusted) and hops:
        address = _address(hops.pop().strip().decode("latin-1"))
        if address is None:
            break
        nearest = str(address)
    return nearest


@lru_cache(1024)
def is_within(address: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    found = _address(address)
    return found is not None and any(found in network for network in networks)


def _address(text: str) -> Address | None:
    """An address as proxies write it: bare, `192.0.2.1:port`, or `[2001:db8::1]:port`. IPv4 within IPv6 is IPv4."""
    bare = text.partition("]")[0][1:] if text.startswith("[") else text.partition(":")[0] if text.count(":") == 1 else text
    try:
        address = ip_address(bare)
    except ValueError:
        return None
    return address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
