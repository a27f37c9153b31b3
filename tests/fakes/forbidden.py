"""Addresses that may never be dialled, by the reason; each row of the security document's list has at least one."""

from ipaddress import IPv4Address, IPv6Address

FORBIDDEN = {
    "loopback": "127.0.0.1",
    "loopback, another": "127.8.9.10",
    "loopback, IPv6": "::1",
    "unspecified": "0.0.0.0",
    "unspecified, IPv6": "::",
    "this network": "0.1.2.3",
    "private 10": "10.0.0.1",
    "private 172": "172.31.255.254",
    "private 192": "192.168.1.1",
    "unique local": "fd12:3456::1",
    "site local": "fec0::1",
    "link-local": "169.254.7.7",
    "link-local, IPv6": "fe80::1",
    "metadata": "169.254.169.254",
    "metadata, AWS IPv6": "fd00:ec2::254",
    "metadata, GCP IPv6": "fd20:ce::254",
    "metadata, Azure": "168.63.129.16",
    "metadata, Alibaba": "100.100.100.200",
    "metadata, ECS": "169.254.170.2",
    "metadata, Oracle": "192.0.0.192",
    "carrier-grade NAT": "100.64.0.1",
    "IETF protocols": "192.0.0.8",
    "documentation 1": "192.0.2.1",
    "documentation 2": "198.51.100.1",
    "documentation 3": "203.0.113.1",
    "documentation, IPv6": "2001:db8::1",
    "documentation, IPv6, RFC 9637": "3fff::1",
    "benchmarks": "198.18.0.1",
    "6to4 relay": "192.88.99.1",
    "multicast": "224.0.0.1",
    "multicast, IPv6": "ff02::1",
    "reserved": "240.0.0.1",
    "broadcast": "255.255.255.255",
    "discard": "100::1",
    "NAT64, local use": "64:ff9b:1::5db8:d70e",
    "mapped": "::ffff:127.0.0.1",
    "mapped, metadata": "::ffff:a9fe:a9fe",
    "compatible": "::127.0.0.1",
    "NAT64": "64:ff9b::7f00:1",
    "NAT64, metadata": "64:ff9b::a9fe:a9fe",
    "6to4": "2002:7f00:1::1",
    "Teredo": "2001:0:5db8:d70e:0:0:80ff:fffe",
    "ISATAP": "2606:4700::5efe:7f00:1",
    "ISATAP, universal": "2606:4700::200:5efe:10.0.0.1",
}


def embedded(inside: IPv4Address) -> dict[str, IPv6Address]:
    """Every way in which an IPv4 address is carried in an IPv6 one that we know of."""
    number = int(inside)
    client = number ^ 0xFFFF_FFFF
    forms = {
        "mapped": 0xFFFF << 32 | number,
        "compatible": number,
        "NAT64": int(IPv6Address("64:ff9b::")) | number,
        "NAT64, local use": int(IPv6Address("64:ff9b:1::")) | number,
        "6to4": 0x2002 << 112 | number << 80 | 1,
        "Teredo, client": int(IPv6Address("2001:0:5db8:d70e::")) | client,
        "Teredo, server": 0x2001 << 112 | number << 64,
        "ISATAP": int(IPv6Address("2606:4700::5efe:0:0")) | number,
        "ISATAP, universal": int(IPv6Address("2606:4700::200:5efe:0:0")) | number,
    }
    return {name: IPv6Address(form) for name, form in forms.items()}
