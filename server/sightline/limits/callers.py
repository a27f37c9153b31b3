"""Who is asking: a `Caller` made from a key of the key file, or from a client address where there are no keys.

The file is looked at once a second and read anew when it has changed: a new version counts only when all of it is right, so a
half-written or wrong file leaves the callers as they were. Keys are held as SHA-256 digests; no message repeats what was sent.
"""

import asyncio
import hashlib
import hmac
import ipaddress
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import structlog

from sightline.errors import AuthenticationFailed, NotFound, PermissionDenied
from sightline.limits.keyfile import CachePolicy, Entry, KeyFile, KeyFileError, Priority, Safety, Scope, parse
from sightline.settings import Allowance, Limits
from sightline.telemetry.metrics import Metrics

HEADER_BYTES = 512  # an Authorization header longer than this is refused unread
LOOK_EVERY = 1.0  # seconds between looks at the key file; a stat costs microseconds
NOBODY = b"0" * 64  # compared when no digest matches, so that a miss takes the steps of a hit

UNLIMITED = Allowance()
BY_SETTINGS = CachePolicy()
UNCHECKED = Safety()

_log: structlog.stdlib.BoundLogger = structlog.get_logger("sightline.limits.callers")


@dataclass(frozen=True, slots=True)
class Caller:
    """One caller. `limits` are his own (key or address), `tenant_limits` those of all callers of his tenant together.

    `models` None means every served model. `key_id` is public (logs may show it), the key itself is not held anywhere.
    """

    tenant: str
    key_id: str
    scopes: frozenset[Scope]
    models: frozenset[str] | None = None
    limits: Allowance = UNLIMITED
    tenant_limits: Allowance = UNLIMITED
    cache: CachePolicy = BY_SETTINGS
    safety: Safety = UNCHECKED
    priority: Priority = "normal"
    counts_tokens: bool = field(init=False, default=False)  # whether any limit of his or his tenant's is about tokens

    def __post_init__(self) -> None:
        sides = (self.limits, self.tenant_limits)
        counts = any(side.tokens_per_minute is not None or side.tokens_per_day is not None for side in sides)
        object.__setattr__(self, "counts_tokens", counts)

    def require(self, scope: Scope) -> None:
        if scope not in self.scopes:
            raise PermissionDenied(f"This key may not do that: it lacks the scope `{scope}`. Ask for a key made with `--scope {scope}`.")

    def may_use(self, model: str) -> bool:
        return self.models is None or model in self.models

    def require_model(self, model: str) -> None:
        """A model outside the key's list does not exist for its caller: 404 as for any other wrong name, so names cannot be probed."""
        if not self.may_use(model):
            raise NotFound(
                f"The model `{model[:100]}` does not exist or this key may not use it. GET /v1/models lists those it may use.",
                code="model_not_found",
                param="model",
            )


class Door(Protocol):
    """Tells who stands before it: `Callers` by key, `Strangers` by address."""

    def identify(self, authorization: Sequence[bytes], address: str = "") -> Caller: ...


class Strangers:
    """Callers without keys, told apart by address; an IPv6 caller is his /64, since that is what one subscriber is given."""

    def __init__(self, limits: Limits, scopes: frozenset[Scope]) -> None:
        self._limits = limits
        self._scopes = scopes

    def identify(self, authorization: Sequence[bytes], address: str = "") -> Caller:  # noqa: ARG002 - SDKs always send some key
        return Caller(
            tenant="anonymous",
            key_id=one_address(address),
            scopes=self._scopes,
            limits=self._limits.key,
            tenant_limits=self._limits.tenant,
        )


@dataclass(frozen=True, slots=True)
class _Keyholder:
    digest: bytes
    caller: Caller
    revoked: bool
    expires: float  # seconds since the epoch


class Callers:
    """The key file, read at construction (KeyFileError when it is wrong then) and again by `watch`."""

    def __init__(self, file: Path, limits: Limits, metrics: Metrics, clock: Callable[[], float] = time.time) -> None:
        self._file = file
        self._limits = limits
        self._clock = clock
        self._reloads = {result: metrics.key_file_reloads.labels(result) for result in ("ok", "refused")}
        self._seen = _signature(file)
        self._holders = _index(parse(_read(file), str(file)), limits)

    def identify(self, authorization: Sequence[bytes], address: str = "") -> Caller:  # noqa: ARG002 - a key says more than an address
        """The caller whose key the request's Authorization headers carry; AuthenticationFailed says what is wrong with them."""
        digest = hashlib.sha256(_bearer(authorization)).hexdigest().encode()
        holder = self._holders.get(digest[:16])
        same = hmac.compare_digest(holder.digest if holder else NOBODY, digest)
        if holder is None or not same:
            raise AuthenticationFailed("Incorrect API key provided: this gateway does not know it. Check the key, or ask for a new one.")
        if holder.revoked:
            raise AuthenticationFailed(f"The API key {holder.caller.key_id} has been revoked. Ask for a new one.")
        if holder.expires <= self._clock():
            raise AuthenticationFailed(f"The API key {holder.caller.key_id} has expired. Ask for a new one.")
        return holder.caller

    async def watch(self, every: float = LOOK_EVERY) -> None:
        """Looks at the file for ever; its owner cancels it."""
        while True:
            await asyncio.sleep(every)
            await asyncio.to_thread(self.look)

    def look(self) -> None:
        """Reads the file anew if it is another than the one last looked at. Kubernetes swaps a symlink above it, hence inode and device."""
        seen = _signature(self._file)
        if seen == self._seen:
            return
        try:
            text = _read(self._file)
            if _signature(self._file) != seen:
                return  # somebody is writing; the next look finds it finished
            holders = _index(parse(text, str(self._file)), self._limits)
        except KeyFileError as error:
            self._reloads["refused"].inc()
            _log.error("key_file.refused", reason=str(error), keys=len(self._holders))
        else:
            self._holders = holders
            self._reloads["ok"].inc()
            _log.info("key_file.reloaded", keys=len(holders))
        self._seen = seen


def _bearer(headers: Sequence[bytes]) -> bytes:
    """The key in the one Authorization header (RFC 6750 §2.1)."""
    if not headers:
        raise AuthenticationFailed("You didn't provide an API key. Send it as `Authorization: Bearer YOUR_KEY`.")
    if len(headers) > 1:
        raise AuthenticationFailed("Several Authorization headers were sent. Send exactly one.")
    header = headers[0]
    if len(header) > HEADER_BYTES:
        raise AuthenticationFailed(f"The Authorization header is longer than {HEADER_BYTES} bytes. Send `Authorization: Bearer YOUR_KEY`.")
    if not header.isascii():
        raise AuthenticationFailed("The Authorization header holds characters outside ASCII. Copy the key again.")
    scheme, _, key = header.partition(b" ")
    key = key.strip(b" ")
    if scheme.lower() != b"bearer" or not key or b" " in key:
        raise AuthenticationFailed("The Authorization header is not `Bearer YOUR_KEY`.")
    return key


@lru_cache(4096)
def one_address(address: str) -> str:
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return "local"  # a Unix socket has no address
    if isinstance(ip, ipaddress.IPv6Address):
        if ip.ipv4_mapped is not None:
            return str(ip.ipv4_mapped)
        return str(ipaddress.ip_network((int(ip), 64), strict=False))
    return str(ip)


def _signature(file: Path) -> tuple[int, int, int, int] | None:
    try:
        stat = os.stat(file)  # noqa: PTH116 - Path.stat is the same call, three times slower, and this runs every second
    except OSError:
        return None
    return stat.st_mtime_ns, stat.st_size, stat.st_ino, stat.st_dev


def _read(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise KeyFileError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeyFileError(f"{file}: is not UTF-8 text") from None


def _index(keyfile: KeyFile, limits: Limits) -> Mapping[bytes, _Keyholder]:
    tenants = {name: tenant.limits for name, tenant in keyfile.tenants.items()}
    holders = {}
    for entry in keyfile.keys:
        digest = entry.digest.encode()
        holders[digest[:16]] = _Keyholder(
            digest=digest,
            caller=_caller(entry, limits, tenants),
            revoked=bool(entry.revoked),
            expires=_seconds(entry.expires),
        )
    return holders


def _caller(entry: Entry, limits: Limits, tenants: Mapping[str, Allowance]) -> Caller:
    return Caller(
        tenant=entry.tenant,
        key_id=entry.id,
        scopes=frozenset(entry.scopes),
        models=None if entry.models is None else frozenset(entry.models),
        limits=_over(limits.key, entry.limits),
        tenant_limits=_over(limits.tenant, tenants.get(entry.tenant, UNLIMITED)),
        cache=entry.cache,
        safety=entry.safety,
        priority=entry.priority,
    )


def _over(defaults: Allowance, own: Allowance) -> Allowance:
    """The operator's defaults with what the file spells out laid over them: `null` there lifts a default."""
    return defaults.model_copy(update={name: getattr(own, name) for name in own.model_fields_set})


def _seconds(moment: datetime | None) -> float:
    if moment is None:
        return float("inf")
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
