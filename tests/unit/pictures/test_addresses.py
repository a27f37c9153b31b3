"""An address may be dialled when it is public, or when the operator has named its network; and no other way."""

from ipaddress import IPv4Address, IPv6Address, ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.fakes.forbidden import FORBIDDEN, embedded

from sightline.pictures.addresses import Addresses

PUBLIC = ["93.184.215.14", "8.8.8.8", "1.1.1.1", "192.0.1.1", "172.32.0.1", "2606:4700::1", "2a00:1450:4001::5", "2001:4860:4860::8888"]
refused_v4 = st.sampled_from([address for address in map(ip_address, FORBIDDEN.values()) if isinstance(address, IPv4Address)])


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_may_be_dialled(address: str) -> None:
    assert Addresses().permit(address)


@pytest.mark.parametrize("address", FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_what_is_not_public_may_not(address: str) -> None:
    assert not Addresses().permit(address)


@given(refused_v4, st.sampled_from(sorted(embedded(IPv4Address(0)))))
def test_a_refused_address_is_refused_in_every_form_it_can_be_carried_in(address: IPv4Address, form: str) -> None:
    assert not Addresses().permit(str(embedded(address)[form]))


@given(st.ip_addresses(v=4), st.sampled_from(["mapped", "NAT64", "ISATAP"]))
def test_a_carried_address_is_judged_like_the_bare_one(address: IPv4Address, form: str) -> None:
    assert Addresses().permit(str(embedded(address)[form])) == Addresses().permit(str(address))


@given(st.ip_addresses(v=6))
def test_no_ipv6_address_is_public_outside_global_unicast_but_for_a_carried_one(address: IPv6Address) -> None:
    carried = address.ipv4_mapped is not None or address in embedded_prefix
    assert carried or not Addresses().permit(str(address)) or int(address) >> 125 == 1


class _Nat64:
    def __contains__(self, address: IPv6Address) -> bool:
        return int(address) >> 32 == int(IPv6Address("64:ff9b::")) >> 32


embedded_prefix = _Nat64()


@pytest.mark.parametrize(
    "text", ["fe80::1%eth0", "2606:4700::1%1", "localhost", "127.1", "0x7f.1", "2130706433", "010.0.0.1", "１27.0.0.1", ""]
)
def test_what_is_no_canonical_address_is_refused(text: str) -> None:
    assert not Addresses().permit(text)


def test_a_named_network_may_be_dialled() -> None:
    addresses = Addresses(["10.1.0.0/16", "fd12::/16"])
    assert addresses.permit("10.1.2.3")
    assert addresses.permit("::ffff:10.1.2.3")
    assert addresses.permit("fd12::1")
    assert not addresses.permit("10.2.0.1")


@pytest.mark.parametrize("metadata", [name for name in FORBIDDEN if name.startswith("metadata, ") or name == "metadata"])
def test_a_wide_network_does_not_open_the_metadata_services_in_it(metadata: str) -> None:
    wide = Addresses(["0.0.0.0/0", "::/0", "fd00::/8", "100.64.0.0/10"])
    assert not wide.permit(FORBIDDEN[metadata])
    assert not wide.permit(FORBIDDEN[metadata], internal=True)


def test_a_metadata_service_opens_when_it_is_named_itself() -> None:
    assert Addresses(["169.254.169.254/32"]).permit("169.254.169.254")


def test_a_host_that_the_operator_has_named_may_be_internal_and_no_more() -> None:
    addresses = Addresses()
    assert all(addresses.permit(FORBIDDEN[name], internal=True) for name in ("loopback", "private 10", "carrier-grade NAT", "unique local"))
    assert not any(addresses.permit(FORBIDDEN[name], internal=True) for name in ("link-local", "multicast", "reserved", "unspecified"))
