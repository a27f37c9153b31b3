"""Values sealed with AES-GCM before they reach a store, so that whoever reads the store reads nothing.

A sealed value is: version (1 byte), key id (4), nonce (12), ciphertext and tag. It is bound to the name it was stored under: moved
under another name it does not open. The newest key seals; all keys open, so a key is rotated by putting a new one in front and taking
the old one out when its values have expired.
"""

import contextlib
import os
from collections.abc import Sequence
from hashlib import sha256

import pybase64
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from sightline.settings import SettingsError
from sightline.store.base import OperableStore, Stats, StoreError
from sightline.telemetry.metrics import Metrics

VERSION = b"\x01"
_ID = slice(1, 5)
_NONCE = slice(5, 17)
_BODY = slice(17, None)


def read_keys(text: str) -> list[bytes]:
    """The keys of `cache.encryption_keys`, newest first; raises SettingsError when one is not base64 of 32 bytes."""
    keys = []
    for word in text.split(","):
        try:
            key = pybase64.b64decode(word.strip(), validate=True)
        except ValueError:  # binascii.Error is one
            key = b""
        if len(key) != 32:  # AES-256
            raise SettingsError(
                "cache.encryption_keys: each key must be base64 of 32 random bytes, as `openssl rand -base64 32` gives, separated by commas"
            )
        keys.append(key)
    return keys


class SealedStore:
    """`inner` with its values sealed under the first of `keys`. What does not open is absent, counted, and removed."""

    def __init__(self, inner: OperableStore, keys: Sequence[bytes], metrics: Metrics) -> None:
        self.inner = inner
        self._ciphers = {_id(key): AESGCM(key) for key in keys}
        self._newest = _id(keys[0])
        self._unopened = metrics.backend_errors.labels("store", "open")

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        sealed = await self.inner.get(keys)
        values = [self._open(key, value) for key, value in zip(keys, sealed, strict=True)]
        broken = [key for key, value, was in zip(keys, values, sealed, strict=True) if value is None and was is not None]
        if broken:
            self._unopened.inc(len(broken))
            ours = [key for key, was in zip(keys, sealed, strict=True) if key in broken and was is not None and not self._foreign(was)]
            with contextlib.suppress(StoreError):
                await self.inner.delete(ours)
        return values

    async def put(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        if not value:
            raise StoreError("put", "the value is empty or too long")
        await self.inner.put(key, self._seal(key, value), ttl, groups)

    def post(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        if value:
            self.inner.post(key, self._seal(key, value), ttl, groups)

    async def delete(self, keys: Sequence[str]) -> int:
        return await self.inner.delete(keys)

    async def forget(self, group: str) -> int:
        return await self.inner.forget(group)

    async def acquire(self, key: str, owner: str, ttl: float) -> bool:
        return await self.inner.acquire(key, owner, ttl)

    async def release(self, key: str, owner: str) -> None:
        await self.inner.release(key, owner)

    async def stats(self) -> Stats:
        return await self.inner.stats()

    async def purge(self, match: str) -> int:
        return await self.inner.purge(match)

    async def close(self) -> None:
        await self.inner.close()

    def _seal(self, key: str, value: bytes) -> bytes:
        nonce = os.urandom(12)
        return VERSION + self._newest + nonce + self._ciphers[self._newest].encrypt(nonce, value, key.encode())

    def _open(self, key: str, sealed: bytes | None) -> bytes | None:
        if sealed is None or sealed[:1] != VERSION or (cipher := self._ciphers.get(sealed[_ID])) is None:
            return None
        try:
            return cipher.decrypt(sealed[_NONCE], sealed[_BODY], key.encode())
        except (InvalidTag, ValueError):  # a nonce cut short is a ValueError
            return None

    def _foreign(self, sealed: bytes) -> bool:
        """Sealed under a key that we do not have: another replica, configured earlier or later, may well open it. It is left alone."""
        return sealed[:1] == VERSION and sealed[_ID] not in self._ciphers


def _id(key: bytes) -> bytes:
    return sha256(b"sightline key id" + key).digest()[:4]
