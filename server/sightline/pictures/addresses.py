"""May this address be dialled? Public ones may; of all others only what the operator has named.

The tables are our own: `ipaddress.is_global` changes with Python's version and calls 64:ff9b::/96, 2002::/16, 168.63.129.16 and multicast
global. IPv6 is public only within 2000::/3, less what is special there. An IPv4 address that is carried inside an IPv6 one is judged too.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


def _networks(text: str) -> tuple[Network, ...]:
    return tuple(ip_network(word) for word in text.split())


# Where clouds answer with credentials to whoever asks from inside, and link-local, where most of them do: AWS, GCP, Azure, OpenStack
# 169.254.169.254; ECS and EKS 169.254.170.2 and .23; AWS fd00:ec2::; GCP fd20:ce::254; Azure 168.63.129.16; Alibaba 100.100.100.200;
# Oracle 192.0.0.192. Opened by nothing but a network that lies within one of these: `fd00::/8` does not mean the metadata service.
METADATA = _networks("169.254.0.0/16 168.63.129.16/32 100.100.100.200/32 192.0.0.192/32 fe80::/10 fd00:ec2::/32 fd20:ce::/32")

# What belongs to this machine or to somebody's own network; opened by `allow_hosts` for the hosts named there.
INTERNAL = _networks("10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7")

# The rest of the IANA special-purpose registries (RFC 6890): no picture is served from there.
SPECIAL = _networks(
    # this network · IETF protocols · documentation · AS112 · AMT · 6to4 relays · benchmarks · documentation · multicast · reserved
    "0.0.0.0/8 192.0.0.0/24 192.0.2.0/24 192.31.196.0/24 192.52.193.0/24 192.88.99.0/24 192.175.48.0/24 198.18.0.0/15 198.51.100.0/24"
    " 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4"
    # IETF protocols (Teredo, ORCHID, benchmarks among them) · documentation · 6to4 · AS112 · 6bone · documentation
    " 2001::/23 2001:db8::/32 2002::/16 2620:4f:8000::/48 3ffe::/16 3fff::/20"
)
_UNICAST = IPv6Network("2000::/3")

_MAPPED = IPv6Network("::ffff:0:0/96")
_COMPATIBLE = IPv6Network("::/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_TEREDO = IPv6Network("2001::/32")
_ISATAP = {0x0000_5EFE, 0x0200_5EFE}  # the middle of an interface identifier: RFC 5214, with and without the universal bit


class Addresses:
    """The verdict on addresses. `allowed` are networks (CIDR) that may be dialled though they are not public."""

    def __init__(self, allowed: Iterable[str] = ()) -> None:
        self._allowed = tuple(ip_network(network) for network in allowed)

    def permit(self, text: str, *, internal: bool = False) -> bool:
        """Whether `text`, an address in its canonical form, may be dialled. `internal`: for a host that the operator has named."""
        try:
            address = ip_address(text)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            return False  # a zone id says which of this machine's own links to use: nobody outside has a reason to
        return all(self._permits(form, internal=internal) for form in forms(address))

    def _permits(self, address: Address, *, internal: bool) -> bool:
        metadata = _around(address, METADATA)
        if any(_lies_in(address, network) and (metadata is None or _within(network, metadata)) for network in self._allowed):
            return True
        if metadata is not None:
            return False
        if _around(address, INTERNAL) is not None:
            return internal
        return _around(address, SPECIAL) is None and (address.version == 4 or address in _UNICAST)


def forms(address: Address) -> Iterator[Address]:
    """What dialling `address` may reach: itself, and the IPv4 address in it. Mapped and NAT64 ones are only another way to write that."""
    if not isinstance(address, IPv6Address):
        yield address
        return
    number = int(address)
    if address in _MAPPED or address in _NAT64:
        yield IPv4Address(number & 0xFFFF_FFFF)
        return
    yield address
    if address in _COMPATIBLE and number > 1:
        yield IPv4Address(number & 0xFFFF_FFFF)
    elif address in _SIX_TO_FOUR:
        yield IPv4Address(number >> 80 & 0xFFFF_FFFF)
    elif address in _TEREDO:
        yield IPv4Address(number >> 64 & 0xFFFF_FFFF)  # the server
        yield IPv4Address(~number & 0xFFFF_FFFF)  # the client, its bits inverted (RFC 4380)
    elif number >> 32 & 0xFFFF_FFFF in _ISATAP:
        yield IPv4Address(number & 0xFFFF_FFFF)


def _lies_in(address: Address, network: Network) -> bool:
    return address.version == network.version and address in network


def _around(address: Address, networks: tuple[Network, ...]) -> Network | None:
    return next((network for network in networks if _lies_in(address, network)), None)


def _within(inner: Network, outer: Network) -> bool:
    return inner.prefixlen >= outer.prefixlen and inner.network_address in outer
