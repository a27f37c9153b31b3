"""One guarded download of a picture: what may be dialled is dialled, redirects are followed by hand, and everything has a limit.

What callers see of a download that failed is one message, whatever happened: a name that does not exist, one that points inside, a closed
port, silence, a 404. Else the gateway would be a port scanner for them. What did happen goes to the log, with the host only.
"""

import asyncio
import contextlib
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import aiohttp

from sightline import __version__
from sightline.pictures.addresses import Addresses
from sightline.pictures.dialling import Guard, NotDialled
from sightline.pictures.urls import NotAllowed, Target, Urls
from sightline.resolving import Names, Resolve
from sightline.settings import Fetch

_HEADERS = {
    "Accept": "image/webp,image/png,image/jpeg,image/gif",
    "Accept-Encoding": "identity",
    "User-Agent": f"sightline/{__version__}",
}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_KEEP_ALIVE = 15.0  # seconds a connection waits for the next picture of its host; it was checked when it was dialled
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_DIRECTIVE = re.compile(r'([a-z-]+)(?:="?([^",]*)"?)?')


class Failed(Exception):
    """The picture could not be had. `reason` is one of a small set, for the log; callers do not see it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class TooLarge(Exception):
    """The picture has more bytes than are taken."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A picture's bytes, and for how many seconds they may be given to others who ask for the same URL."""

    data: bytes
    keep: float


class Fetcher:
    """Downloads pictures of at most `max_bytes`. `resolve` and `tls` are the machine's own unless given."""

    def __init__(self, settings: Fetch, max_bytes: int, resolve: Resolve | None = None, tls: ssl.SSLContext | None = None) -> None:
        self._settings = settings
        self._max_bytes = max_bytes
        self._resolve = resolve or Names()
        self._tls = tls
        self._addresses = Addresses(settings.allow_networks)
        self._urls = Urls(settings, self._addresses)
        self._slots = Slots(settings.concurrency, settings.per_host)
        self._sessions: dict[bool, aiohttp.ClientSession] = {}

    def judge(self, url: str) -> Target:
        """What `url` names, if it may be fetched; raises NotAllowed. Nothing is asked of the network."""
        return self._urls.judge(url)

    async def fetch(self, target: Target) -> Fetched:
        """The picture behind `target`. Raises Failed or TooLarge within the time limit."""
        try:
            async with asyncio.timeout(self._settings.timeout):
                return await self._follow(target)
        except TimeoutError:
            raise Failed("time") from None
        except NotDialled:
            raise Failed("address") from None
        except aiohttp.ClientConnectorDNSError as error:
            raise Failed("address" if isinstance(error.os_error, NotDialled) else "name") from None
        except (aiohttp.ClientSSLError, ssl.SSLError):
            raise Failed("tls") from None
        except aiohttp.ClientConnectorError as error:
            raise Failed("address" if isinstance(error.os_error, NotDialled) else "connect") from None
        except (aiohttp.ClientError, OSError, ValueError):
            raise Failed("broken") from None

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def _follow(self, target: Target) -> Fetched:
        keep = self._settings.keep_seconds
        for _ in range(self._settings.redirects + 1):
            async with self._slots.taken(target.host), self._asked(target) as response:
                keep = min(keep, freshness(response.headers, keep))
                if response.status not in _REDIRECTS:
                    return Fetched(await self._read(response), keep)
                location = response.headers.get("Location")
            target = self._next(target, location)
        raise Failed("redirects")

    def _next(self, target: Target, location: str | None) -> Target:
        """Where a redirect leads, judged like any other URL. Not from https to http: what was asked for safely is had safely."""
        if not location or any(character <= " " for character in location):  # urljoin would drop some of them
            raise Failed("redirect")
        try:
            # `urljoin` reads `http:///a` and `http:a` as relative; with a scheme a location is a URL, or nothing.
            following = self._urls.judge(location if _SCHEME.match(location) else urljoin(str(target.url), location))
        except (NotAllowed, ValueError):
            raise Failed("address") from None
        if target.url.scheme == "https" and following.url.scheme == "http":
            raise Failed("redirect")
        return following

    @contextlib.asynccontextmanager
    async def _asked(self, target: Target) -> AsyncIterator[aiohttp.ClientResponse]:
        """The response to one GET. A connection whose response was not read to its end is closed with it."""
        # In a thread: reading the machine's certificates takes longer than the event loop may stand still.
        if self._tls is None:
            self._tls = await asyncio.to_thread(ssl.create_default_context)
        response = await self._session(self._tls, internal=target.internal).get(target.url, headers=_HEADERS, allow_redirects=False)
        try:
            yield response
        finally:
            response.close()

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        if response.status != 200:
            raise Failed("status")
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Failed("encoding")
        if response.headers.get("Transfer-Encoding", "chunked").lower() != "chunked":
            raise Failed("encoding")
        if (response.content_length or 0) > self._max_bytes:
            raise TooLarge
        data = bytearray()
        async for chunk in response.content.iter_any():
            data += chunk
            if len(data) > self._max_bytes:
                raise TooLarge
        return bytes(data)

    def _session(self, tls: ssl.SSLContext, *, internal: bool) -> aiohttp.ClientSession:
        """Sessions for strangers' hosts and for the operator's own: their connections, and what those may be opened to, are apart."""
        if internal not in self._sessions:
            guard = Guard(lambda address: self._addresses.permit(address, internal=internal), self._resolve)
            self._sessions[internal] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    resolver=guard,
                    socket_factory=guard.socket,
                    use_dns_cache=False,
                    ssl=tls,
                    limit=0,
                    keepalive_timeout=_KEEP_ALIVE,
                ),
                timeout=aiohttp.ClientTimeout(total=None),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._sessions[internal]


class Slots:
    """How many may fetch at once: from one host, and over all. Who waits for a host holds nothing that others need."""

    def __init__(self, total: int, per_host: int) -> None:
        self._total = asyncio.Semaphore(total)
        self._per_host = per_host
        self._hosts: dict[str, tuple[asyncio.Semaphore, list[None]]] = {}

    @contextlib.asynccontextmanager
    async def taken(self, host: str) -> AsyncIterator[None]:
        with self._host(host) as slots:
            async with slots, self._total:
                yield

    @contextlib.contextmanager
    def _host(self, host: str) -> Iterator[asyncio.Semaphore]:
        slots, users = self._hosts.setdefault(host, (asyncio.Semaphore(self._per_host), []))
        users.append(None)
        try:
            yield slots
        finally:
            users.pop()
            if not users:
                del self._hosts[host]


def freshness(headers: Mapping[str, str], limit: float) -> float:
    """For how many seconds, at most `limit`, a shared cache may keep a response (RFC 9111, 3 and 4.2); 0 is not at all."""
    directives = dict(_DIRECTIVE.findall(headers.get("Cache-Control", "").lower()))
    if directives.keys() & {"no-store", "no-cache", "private"} or headers.get("Vary", "").strip() == "*":
        return 0.0
    for name in ("s-maxage", "max-age"):
        if name in directives:
            return min(limit, max(_seconds(directives[name]) - _seconds(headers.get("Age", "0")), 0.0))
    return limit


def _seconds(text: str) -> float:
    return float(text) if text.isdecimal() and text.isascii() and len(text) < 10 else 0.0
