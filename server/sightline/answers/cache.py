"""Answers kept: look up, keep, forget. Whatever the store does or holds, a request only ever sees a hit, a miss or a bypass.

A value names its schema, when it was kept, its length, and carries a digest over all that, its key and its body: what is garbled,
truncated, of another schema or lies under another key is a miss, removed and counted. The body is an `unstamp`ed completion: a hit
takes a fresh id and time without any JSON being parsed. Values are not compressed: that would cost more than it saves.

Forgetting a picture must also forget the answer that is just being made. So each picture of a tenant has an epoch, a random value that
forgetting replaces: it is read with every look-up (one round trip), the answer is kept under the mark of the epochs that were read before
the engine was asked, and a value under another mark than today's is a miss.
"""

import secrets
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec
from blake3 import blake3

from sightline.answers.keys import SCHEMA, Key, PictureKeys
from sightline.errors import Unavailable
from sightline.settings import Cache as CacheSettings
from sightline.store.base import Store, StoreError
from sightline.telemetry.metrics import Metrics
from sightline.wire.folding import is_whole, unstamp

_HEAD = struct.Struct(">3sBdI16s")  # magic, schema, kept at (Unix seconds), length of the body, mark of the epochs
_MAGIC = b"SLA"
_DIGEST = 16
_NO_EPOCHS = bytes(16)
_IN_THE_MAKING = 3600.0  # seconds that an epoch outlives the longest TTL, for answers that were being made when it was set


class Hit(msgspec.Struct, frozen=True):
    """A kept answer: the completion as `wire.folding.unstamp` left it, and how many seconds ago it was kept."""

    tail: bytes
    age: int


class Miss(msgspec.Struct, frozen=True):
    """No answer; `mark` stands for the pictures' epochs, and goes with the answer when it is kept."""

    mark: bytes = _NO_EPOCHS


class Down(msgspec.Struct, frozen=True):
    """The store did not say. The answer is not kept either: what has been forgotten meanwhile is not known."""

    mark: bytes = _NO_EPOCHS


LookUp = Hit | Miss | Down


class Cache:
    """`clock` gives Unix seconds, since ages are told across replicas."""

    def __init__(self, store: Store, settings: CacheSettings, metrics: Metrics, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._settings = settings
        self._clock = clock
        self._discarded = metrics.backend_errors.labels("cache", "value")

    def wanted(self, key: Key, *, read: bool = True) -> list[str]:
        """What the store is to be asked for: the answer, unless `read` is False, and the pictures' epochs."""
        epochs = [picture.epoch for picture in key.pictures]
        return [key.answer, *epochs] if read else epochs

    async def look_up(self, key: Key, *, read: bool = True, max_age: int | None = None) -> LookUp:
        """One round trip. With `read` False nothing is a hit, and only the epochs are asked for."""
        wanted = self.wanted(key, read=read)
        try:
            found = await self._store.get(wanted) if wanted else []
        except StoreError:
            return Down()
        return await self.judge(key, found, read=read, max_age=max_age)

    async def judge(self, key: Key, found: Sequence[bytes | None] | None, *, read: bool = True, max_age: int | None = None) -> LookUp:
        """What the values of `wanted` mean; None is a store that could not be asked. A value that is no answer (any more) is removed."""
        if found is None:
            return Down()
        value = found[0] if read else None
        mark = _mark(found[1:] if read else found)
        if value is None:
            return Miss(mark)
        kept = _unpack(key.answer, value, self._settings.value_bytes)
        if kept is None:
            self._discarded.inc()
        if kept is None or kept.mark != mark:
            with suppress(StoreError):
                await self._store.delete([key.answer])
            return Miss(mark)
        age = max(0, int(self._clock() - kept.at))
        return Miss(mark) if max_age is not None and age > max_age else Hit(kept.tail, age)

    def keep(self, key: Key, completion: bytes, ttl: int, seen: LookUp) -> bool:
        """Keeps a completion that is whole and not too long; whether it is one. `seen` is the look-up before the engine was asked.

        It does not wait: who asks this gateway from now on finds the answer, unless the store fails to keep it.
        """
        if not isinstance(seen, Miss) or len(completion) > self._settings.value_bytes or not is_whole(completion):
            return False
        value = _pack(key.answer, unstamp(completion), self._clock(), seen.mark)
        self._store.post(key.answer, value, ttl, [picture.group for picture in key.pictures])
        return True

    async def forget_image(self, tenant: str, image_hash: str) -> int:
        """Forgets every answer about a picture of `tenant`, those in the making included; how many were kept. Raises Unavailable."""
        picture = PictureKeys.of(self._settings.generation, tenant, image_hash)
        try:
            # The epoch first: what is kept between the two steps is either found by the second or kept under the old mark.
            await self._store.put(picture.epoch, secrets.token_bytes(16), self._settings.max_ttl + _IN_THE_MAKING)
            return await self._store.forget(picture.group)
        except StoreError:
            raise Unavailable(
                "The cached answers cannot be reached now: nothing may have been forgotten. Try again.", retry_after=5
            ) from None


class _Kept(msgspec.Struct, frozen=True):
    tail: bytes
    at: float
    mark: bytes


def _mark(epochs: Sequence[bytes | None]) -> bytes:
    if not any(epochs):
        return _NO_EPOCHS
    return blake3(b"".join(blake3(epoch or b"").digest() for epoch in epochs)).digest(16)


def _pack(key: str, tail: bytes, now: float, mark: bytes) -> bytes:
    value = _HEAD.pack(_MAGIC, SCHEMA, now, len(tail), mark) + tail
    return value + _digest(key, value)


def _unpack(key: str, value: bytes, longest: int) -> _Kept | None:
    """What `_pack` packed under the same key, or None."""
    end = len(value) - _DIGEST
    if not _HEAD.size < end <= _HEAD.size + longest:
        return None
    magic, schema, at, length, mark = _HEAD.unpack_from(value)
    if (magic, schema, length) != (_MAGIC, SCHEMA, end - _HEAD.size) or _digest(key, value[:end]) != value[end:]:
        return None
    return _Kept(value[_HEAD.size : end], at, mark)


def _digest(key: str, value: bytes) -> bytes:
    return blake3(b"%b\0%b" % (key.encode(), value)).digest(_DIGEST)
