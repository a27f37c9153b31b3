"""What is known already about bytes that were sent: their identity, and the picture prepared from them.

Both are kept under the digest of the bytes (keyed by the policy, so that another policy is another entry). Pictures are kept in the
process, bounded by their bytes; identities are small, so far more of them are kept, and they are shared with other replicas through the
store. The store is a courtesy: when it fails, or holds something odd, the picture is simply prepared again.
"""

import struct
from collections import OrderedDict
from collections.abc import Sequence
from typing import NamedTuple, Self

from blake3 import blake3

from sightline.pictures.formats import Header
from sightline.pictures.imaging import Picture
from sightline.store.base import Store, StoreError
from sightline.telemetry.metrics import Metrics

IDENTITIES = 65_536  # about 20 MB
PICTURE_OVERHEAD = 600  # bytes of objects round an entry
IDENTITY_CONTEXT = "sightline 2026 picture: identity in the store"


class Identity(NamedTuple):
    """`width` and `height` are those of the prepared picture."""

    image_hash: str
    width: int
    height: int

    def pack(self, digest: bytes) -> bytes:
        """Version, hash, size, and a checksum over these and the digest they belong to, so that what was mixed up or damaged is noticed."""
        body = _VALUE.pack(1, bytes.fromhex(self.image_hash), self.width, self.height)
        return body + _checksum(digest, body)

    @classmethod
    def unpack(cls, digest: bytes, value: bytes | None) -> Self | None:
        if value is None or len(value) != _VALUE.size + 8 or value[-8:] != _checksum(digest, value[:-8]):
            return None
        version, image_hash, width, height = _VALUE.unpack(value[:-8])
        return cls(image_hash.hex(), width, height) if version == 1 else None


_VALUE = struct.Struct(">B32sII")


def _checksum(digest: bytes, body: bytes) -> bytes:
    return blake3(digest + body, derive_key_context=IDENTITY_CONTEXT).digest(8)


class Memo:
    def __init__(self, picture_bytes: int, store: Store | None, remember: float, metrics: Metrics) -> None:
        self._left = picture_bytes
        self._pictures: OrderedDict[bytes, Picture] = OrderedDict()
        self._identities: OrderedDict[bytes, Identity] = OrderedDict()
        self._headers: OrderedDict[bytes, Header] = OrderedDict()
        self._store = store
        self._remember = remember
        self._metrics = metrics

    def header(self, digest: bytes) -> Header | None:
        """What was read of bytes that passed the door before."""
        return self._headers.get(digest)

    def note(self, digest: bytes, header: Header) -> Header:
        self._headers[digest] = header
        if len(self._headers) > IDENTITIES:
            self._headers.popitem(last=False)
        return header

    def picture(self, digest: bytes) -> Picture | None:
        found = self._pictures.get(digest)
        if found is not None:
            self._pictures.move_to_end(digest)
        return found

    def identity(self, digest: bytes) -> Identity | None:
        found = self._identities.get(digest)
        if found is not None:
            self._identities.move_to_end(digest)
        return found

    def keep(self, digest: bytes, picture: Picture) -> Identity:
        """Keeps `picture` as the most recently used; what was used longest ago leaves."""
        self._drop(digest)
        self._pictures[digest] = picture
        self._left -= _size(picture)
        while self._left < 0:
            self._drop(next(iter(self._pictures)))
        return self._know(digest, Identity(picture.image_hash, picture.width, picture.height))

    async def recall(self, digests: Sequence[bytes]) -> dict[bytes, Identity]:
        """The identities of `digests` that the store knows; none when it fails."""
        if self._store is None or not digests:
            return {}
        try:
            values = await self._store.get([_key(digest) for digest in digests])
        except StoreError as error:
            self._failed(error)
            return {}
        known = {digest: Identity.unpack(digest, value) for digest, value in zip(digests, values, strict=True)}
        return {digest: self._know(digest, identity) for digest, identity in known.items() if identity is not None}

    def share(self, digest: bytes, identity: Identity) -> None:
        """Tells the other replicas."""
        if self._store is not None:
            self._store.post(_key(digest), identity.pack(digest), self._remember)

    def _know(self, digest: bytes, identity: Identity) -> Identity:
        self._identities[digest] = identity
        self._identities.move_to_end(digest)
        if len(self._identities) > IDENTITIES:
            self._identities.popitem(last=False)
        return identity

    def _drop(self, digest: bytes) -> None:
        picture = self._pictures.pop(digest, None)
        if picture is not None:
            self._left += _size(picture)

    def _failed(self, error: StoreError) -> None:
        self._metrics.backend_errors.labels("store", error.operation).inc()


def _key(digest: bytes) -> str:
    return f"picture:{digest.hex()}"


def _size(picture: Picture) -> int:
    return len(picture.encoded) + PICTURE_OVERHEAD
