"""May this URL be fetched, as far as its text tells? One parser, ours, and strict: what a lenient one would repair is refused.

Whoever checks a URL and whoever dials it must read it alike. So the URL that is dialled is built anew from the checked parts, and what
two parsers may read differently (backslashes, user names, white space, odd numbers, full-width characters) does not get that far.
"""

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from urllib.parse import quote

import idna
from yarl import URL

from sightline.pictures.addresses import Addresses
from sightline.settings import Fetch

MAX_LENGTH = 8192  # characters; a presigned URL with a session token has about 2000
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\\\u1680\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ud800-\udfff]")
_URL = re.compile(r"(https?)://([^/?#]+)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(?:\[([0-9a-fA-F:.]+)\]|([^:@%\[\]]+))(?::([0-9]{1,5}))?")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")  # a host that ends in one is an IPv4 address to lenient parsers (WHATWG URL, 3.5)
_DOTS = frozenset("\u3002\uff0e\uff61")  # IDNA reads them as full stops

# Names that only mean something inside a network: RFC 6761, 6762, 7686, 8375, 9476, ICANN's `internal` and those it will never delegate.
_INSIDE = frozenset(
    "local localhost localdomain internal intranet private corp home lan mail arpa onion alt consul test invalid example".split()
)


class NotAllowed(Exception):
    """This URL is not fetched. It says no more: which of the rules it was is for the rules to know."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that may be asked. `host` is ASCII, or an address in its canonical form; `internal`: the operator has named it."""

    url: URL
    host: str
    internal: bool


class Urls:
    def __init__(self, settings: Fetch, addresses: Addresses) -> None:
        self._ports = frozenset(settings.ports)
        self._hosts = frozenset(host.lower() for host in settings.allow_hosts if not host.startswith("."))
        self._suffixes = tuple(host.lower() for host in settings.allow_hosts if host.startswith("."))
        self._addresses = addresses

    def judge(self, text: str) -> Target:
        """The target that `text` names; raises NotAllowed. Nothing is asked of the network."""
        if len(text) > MAX_LENGTH or _UNSAFE.search(text):
            raise NotAllowed
        whole = _URL.fullmatch(text)
        authority = whole and _AUTHORITY.fullmatch(whole[2])
        if whole is None or authority is None:
            raise NotAllowed
        scheme, path, query = whole[1].lower(), _ascii(whole[3]) or "/", _ascii(whole[4] or "")
        default = 443 if scheme == "https" else 80
        port = int(authority[3] or default)
        if port not in self._ports:
            raise NotAllowed
        host, literal = _address(authority[1]) if authority[1] else _host(authority[2])
        internal = host in self._hosts or host.endswith(self._suffixes)
        if not (self._addresses.permit(host, internal=internal) if literal else internal or _is_public_name(host)):
            raise NotAllowed
        place = f"[{host}]" if ":" in host else host
        url = URL(f"{scheme}://{place}{'' if port == default else f':{port}'}{path}{query}", encoded=True)
        if (url.scheme, url.raw_host, url.port) != (scheme, host, port):
            raise NotAllowed
        return Target(url, host, internal)


def _ascii(text: str) -> str:
    return text if text.isascii() else quote(text, safe=_PRINTABLE)


_PRINTABLE = "".join(map(chr, range(0x21, 0x7F)))


def _address(text: str) -> tuple[str, bool]:
    try:
        return str(IPv6Address(text)), True
    except AddressValueError:
        raise NotAllowed from None


def _host(text: str) -> tuple[str, bool]:
    """The host in ASCII, and whether it is an address."""
    host = text.lower()
    if not host.isascii():
        try:
            # IDNA 2008 without mapping: full-width digits, ligatures and signs that a mapping would turn into ASCII are no letters here.
            host = "" if _DOTS & set(host) else idna.encode(host).decode("ascii")
        except idna.IDNAError:
            raise NotAllowed from None
    labels = host.split(".")
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise NotAllowed
    if not _NUMBER.fullmatch(labels[-1]):
        return host, False
    try:
        return str(IPv4Address(host)), True
    except AddressValueError:
        raise NotAllowed from None


def _is_public_name(host: str) -> bool:
    _, dot, last = host.rpartition(".")
    return bool(dot) and last not in _INSIDE
