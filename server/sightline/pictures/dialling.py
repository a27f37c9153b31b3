"""Connections to addresses that have been checked, and to no others.

aiohttp asks a resolver for names only, not for addresses in a URL; but each socket it opens comes from `Guard.socket`, which sees the very
address that is about to be dialled. So a name that changes its answer between check and dial changes nothing.
"""

import socket
from collections.abc import Callable
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

from sightline.resolving import Resolve


class NotDialled(OSError):
    """The address is not one to be dialled."""


class Guard(AbstractResolver):
    """A resolver and a source of sockets for an `aiohttp.TCPConnector`; both give only what `permit` lets pass."""

    def __init__(self, permit: Callable[[str], bool], resolve: Resolve) -> None:
        self._permit = permit
        self._resolve = resolve

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_UNSPEC,  # noqa: ARG002  the interface is aiohttp's
    ) -> list[ResolveResult]:
        """All addresses of `host`. One that is not permitted spoils the answer: an honest name does not point inside and outside."""
        addresses = await self._resolve(host)
        if not addresses:
            raise OSError("no addresses")
        if not all(self._permit(address) for address in addresses):
            raise NotDialled
        return [_result(host, address, port) for address in addresses]

    def socket(self, destination: tuple[Any, ...]) -> socket.socket:
        """A socket for the `getaddrinfo` entry that is dialled next."""
        family, kind, protocol, _, (address, *rest) = destination
        if not self._permit(address) or (len(rest) == 3 and rest[2]):  # the last number of an IPv6 address is its zone
            raise NotDialled
        return socket.socket(family, kind, protocol)

    async def close(self) -> None: ...


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
