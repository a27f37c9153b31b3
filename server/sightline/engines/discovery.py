"""Which engines there are: those named by URL, for good, and those behind a name, as they come and go.

`dns+http://name:port` stands for every address that the name has now, asked for again every few seconds. A headless Service of Kubernetes
is such a name: it has the addresses of the pods that are ready, so engines join and leave without a word to the gateway.
"""

import asyncio
from collections.abc import Container, Sequence
from urllib.parse import urlsplit

import structlog

from sightline.resolving import Resolve

_log = structlog.get_logger()

SCHEME = "dns+http://"
LOOK_EVERY = 5.0  # seconds; CoreDNS lets its answers about pods be kept for as long
_PATIENCE = 5.0


class Directory:
    """The engines of the settings' `engines`, one URL each."""

    def __init__(self, engines: Sequence[str], resolve: Resolve) -> None:
        self._fixed = [_base(url) for url in engines if not url.startswith(SCHEME)]
        self._names = [Name(url, resolve) for url in engines if url.startswith(SCHEME)]

    @property
    def changes(self) -> bool:
        return bool(self._names)

    @property
    def empty(self) -> list[str]:
        """The names behind which there is nobody."""
        return [name.name for name in self._names if not name.urls]

    async def look(self, up: Container[str]) -> list[str]:
        """All engines as of now, each once; of names that do not answer those known before that are `up`."""
        await asyncio.gather(*(name.look(up) for name in self._names))
        return list(dict.fromkeys([*self._fixed, *(url for name in self._names for url in sorted(name.urls))]))


class Name:
    """A name and the engines that it stood for when it last answered.

    No answer is no news: DNS may be down, and a Service whose pods are all unready for a moment has no addresses either. Engines that are
    well stay then. Those that are not go: an address that neither DNS nor a health check vouches for may be another's soon.
    """

    def __init__(self, url: str, resolve: Resolve) -> None:
        parts = urlsplit(url)
        self.name = parts.netloc
        self.urls: frozenset[str] = frozenset()
        self._host = parts.hostname or ""
        self._rest = (f":{parts.port}" if parts.port else "") + parts.path
        self._resolve = resolve
        self._answers = True

    async def look(self, up: Container[str]) -> None:
        try:
            async with asyncio.timeout(_PATIENCE):
                addresses = await self._resolve(self._host)
        except OSError as error:  # a time-out is one too
            self.urls = frozenset(url for url in self.urls if url in up)
            if self._answers:
                _log.warning("engine_name.unresolved", name=self.name, reason=str(error) or "no answer in time", engines=len(self.urls))
            self._answers = False
            return
        self.urls = frozenset(_base(f"http://{_bracketed(address)}{self._rest}") for address in addresses)
        if not self._answers:
            _log.info("engine_name.resolved", name=self.name, engines=len(self.urls))
        self._answers = True


def _base(url: str) -> str:
    """Without the slash or the `/v1` that an OpenAI base URL ends in, so that one engine has one URL."""
    return url.rstrip("/").removesuffix("/v1")


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
