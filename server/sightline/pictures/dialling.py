"""Connections to addresses that have been checked, and to no others.

aiohttp asks a resolver for names only, not for addresses in a URL; but each socket it opens comes from `Guard.socket`, which sees the very
address that is about to be dialled. So a name that changes its answer between check and dial changes nothing.
"""

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from aiohttp.abc import AbstractResolver, ResolveResult

Resolve = Callable[[str], Awaitable[Sequence[str]]]


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


class Names:
    """The machine's own resolver, asked in threads; `limit` of them at once. Threads, since `getaddrinfo` cannot be told to stop.

    They are daemons and ours: a name server that never answers holds up neither the process's exit nor anybody else's threads.
    """

    def __init__(self, limit: int = 16) -> None:
        self._slots = asyncio.Semaphore(limit)

    async def __call__(self, host: str) -> Sequence[str]:
        """Raises OSError when there is no such name."""
        await self._slots.acquire()
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Sequence[str]] = loop.create_future()

        def settle(addresses: Sequence[str], error: OSError | None) -> None:
            self._slots.release()  # only now: a look-up that nobody waits for any more still has its thread
            if answer.done():
                return
            if error is None:
                answer.set_result(addresses)
            else:
                answer.set_exception(error)

        def ask() -> None:
            addresses: Sequence[str] = ()
            error: OSError | None = None
            try:
                found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
                addresses = tuple(dict.fromkeys(str(entry[4][0]) for entry in found))
            except (OSError, UnicodeError) as failure:
                error = failure if isinstance(failure, OSError) else OSError("not a name")
            with contextlib.suppress(RuntimeError):  # the loop has been closed meanwhile
                loop.call_soon_threadsafe(settle, addresses, error)

        try:
            threading.Thread(target=ask, name="sightline-names", daemon=True).start()
        except RuntimeError as error:  # no more threads on this machine
            self._slots.release()
            raise OSError(str(error)) from None
        return await answer


def _result(host: str, address: str, port: int) -> ResolveResult:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return ResolveResult(hostname=host, host=address, port=port, family=family, proto=0, flags=socket.AI_NUMERICHOST)
