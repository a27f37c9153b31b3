"""Where a store is: its URL, read and checked once. No message repeats the URL, since it may hold a password.

memory://
redis[s]://[user:password@]host[:port][/db]
redis[s]+sentinel://[user:password@]host[:port],host[:port]…/service[/db]
redis[s]+cluster://[user:password@]host[:port],host[:port]…

For TLS (`rediss`): `?ca=FILE` (else the system's authorities), `&cert=FILE&key=FILE` for a client certificate.
"""

import ssl
from dataclasses import dataclass
from typing import Literal
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

from sightline.settings import SettingsError

Kind = Literal["memory", "server", "sentinel", "cluster"]

SCHEMES: dict[str, tuple[Kind, bool]] = {
    "memory": ("memory", False),
    "redis": ("server", False),
    "rediss": ("server", True),
    "redis+sentinel": ("sentinel", False),
    "rediss+sentinel": ("sentinel", True),
    "redis+cluster": ("cluster", False),
    "rediss+cluster": ("cluster", True),
}
PORTS: dict[Kind, int] = {"server": 6379, "sentinel": 26379, "cluster": 6379}


@dataclass(frozen=True, slots=True)
class Tls:
    ca: str | None = None
    cert: str | None = None
    key: str | None = None

    def context(self) -> ssl.SSLContext:
        """Reads the files; raises SettingsError when one is not there or not right."""
        try:
            context = ssl.create_default_context(cafile=self.ca)
            if self.cert:
                context.load_cert_chain(self.cert, self.key)
        except OSError:  # ssl.SSLError is one of them
            raise SettingsError("store: the TLS files named by ca=, cert= and key= cannot be read") from None
        return context


@dataclass(frozen=True, slots=True)
class Address:
    kind: Kind
    hosts: tuple[tuple[str, int], ...] = ()
    username: str | None = None
    password: str | None = None
    service: str = ""
    db: int = 0
    tls: Tls | None = None


def parse(url: str) -> Address:
    """The address that `url` names; raises SettingsError with one line that says what is wrong with it."""
    try:
        split = urlsplit(url)
    except ValueError:
        raise SettingsError("store: this is not a URL") from None
    if split.scheme not in SCHEMES:
        raise SettingsError(f"store: the URL must begin with one of {', '.join(f'{scheme}://' for scheme in SCHEMES)}")
    kind, secure = SCHEMES[split.scheme]
    if kind == "memory":
        if split.netloc or split.path.strip("/") or split.query:
            raise SettingsError("store: memory:// takes nothing after it; its size is cache.memory_bytes")
        return Address(kind)
    credentials, _, hosts = split.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    found = tuple(_host(part, PORTS[kind]) for part in hosts.split(","))
    if kind == "server" and len(found) > 1:
        raise SettingsError("store: redis:// takes one host; several are for redis+sentinel:// and redis+cluster://")
    service, db = _path(kind, split)
    return Address(kind, found, unquote(username) or None, unquote(password) or None, service, db, _tls(split, secure=secure))


def _host(part: str, default: int) -> tuple[str, int]:
    try:
        split = urlsplit(f"//{part}")
        port = split.port
    except ValueError:
        raise SettingsError("store: a port is not a number from 1 to 65535") from None
    if not split.hostname:
        raise SettingsError("store: a host is missing")
    return split.hostname, default if port is None else port


def _path(kind: Kind, split: SplitResult) -> tuple[str, int]:
    """The Sentinel service and the number of the database."""
    parts = [unquote(part) for part in split.path.split("/") if part]
    service = ""
    if kind == "sentinel":
        if not parts:
            raise SettingsError("store: name the service that the Sentinels watch: redis+sentinel://host:port/service")
        service = parts.pop(0)
    if kind == "cluster" and parts:
        raise SettingsError("store: a Redis Cluster has one database, so redis+cluster:// takes no path")
    if len(parts) > 1 or not all(part.isdecimal() for part in parts):
        raise SettingsError("store: the database must be a number, as in redis://host:6379/0")
    return service, int(parts[0]) if parts else 0


def _tls(split: SplitResult, *, secure: bool) -> Tls | None:
    options = dict(parse_qsl(split.query, keep_blank_values=True))
    unknown = sorted(set(options) - {"ca", "cert", "key"})
    if unknown:
        raise SettingsError("store: the URL takes no options but ca=, cert= and key= (files, for TLS)")
    if options and not secure:
        raise SettingsError("store: ca=, cert= and key= are for TLS; the URL must begin with rediss")
    return Tls(**options) if secure else None
