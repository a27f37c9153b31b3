"""From the pictures of a request to their identities, and to what the engine gets: one way for data URIs, URLs and uploads.

All that can be refused cheaply is refused first: count, base64, size of file, type, size in pixels; of all pictures, before any is decoded.
A picture that was seen before costs one digest of its bytes. Callers that send the same new picture at once share one preparation.
"""

import asyncio
import binascii
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

import msgspec
import pybase64
from blake3 import blake3

from sightline.errors import PictureRefused, Unavailable
from sightline.pictures import headers, imaging
from sightline.pictures.formats import Header
from sightline.pictures.imaging import Picture
from sightline.pictures.memo import Identity, Memo
from sightline.pictures.policy import Policy, choose
from sightline.pictures.pool import Pool
from sightline.settings import Images
from sightline.store.base import Store
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.traces import Trace
from sightline.wire.protocol import PictureSource

T = TypeVar("T")
Fetch = Callable[[PictureSource], Awaitable[bytes]]

BYTES_CONTEXT = "sightline 2026 picture: bytes as sent"
# WebP's decoder holds two canvases of its own and hands over a copy: four times what the others need (measured at 33 Mpx).
WEBP_WEIGHT = 4


class Identified(msgspec.Struct, frozen=True):
    """A picture whose identity is known, and all that is needed to prepare it. `width` and `height` are those of the prepared picture."""

    param: str | None
    image_hash: str
    width: int
    height: int
    data: "bytes | PictureSource"
    sent_bytes: int
    digest: bytes
    header: Header
    policy: Policy
    picture: Picture | None = None

    @property
    def original(self) -> tuple[int, int]:
        """Width and height as sent, upright."""
        return self.header.upright


class _Sent(msgspec.Struct, frozen=True):
    """Bytes that may be opened, or the source that has them in base64 which was found right before."""

    param: str | None
    data: "bytes | PictureSource"
    sent_bytes: int
    digest: bytes
    header: Header
    policy: Policy


@dataclass(slots=True)
class _Shared:
    task: asyncio.Task[Picture]
    riders: int = 0


class Pictures:
    """`fetch` gets the bytes behind a source's URL, guarded. `store` shares identities with other replicas (None: nobody to share with)."""

    def __init__(self, settings: Images, metrics: Metrics, fetch: Fetch, store: Store | None = None) -> None:
        self._settings = settings
        self._metrics = metrics
        self._fetch = fetch
        self._memo = Memo(settings.memo_bytes, store, settings.remember, metrics)
        self._pool = Pool(settings.threads, settings.pixels_in_flight)
        self._under_way: dict[bytes, _Shared] = {}
        self._keys: dict[str, bytes] = {}
        self._policies: dict[str | None, Policy] = {}

    async def identify(self, sources: Sequence[PictureSource], trace: Trace | None = None) -> tuple[Identified, ...]:
        """The identities of `sources`, in order; raises PictureRefused for the first that is not accepted."""
        with self._counted():
            if len(sources) > self._settings.per_request:
                raise PictureRefused(
                    f"The request has {len(sources)} pictures; at most {self._settings.per_request} are allowed. Send fewer.",
                    code="too_many_images",
                    param=sources[self._settings.per_request].param,
                )
            sent: dict[int, _Sent] = {}
            for source in sources:
                if source.base64 is not None:
                    if sent:
                        await asyncio.sleep(0)  # a large or a hostile one takes milliseconds; others get their turn between two
                    sent[source.index] = self._known_again(source) or self._accept(source, self._decode(source))
            remote = [source for source in sources if source.base64 is None]
            if remote:
                sent |= zip(
                    (source.index for source in remote), await _together([self._fetched(source, trace) for source in remote]), strict=True
                )
            arrived = [sent[source.index] for source in sources]
            identities = [self._memo.identity(one.digest) for one in arrived]
            if None not in identities:
                return tuple([self._known(one, identity) for one, identity in zip(arrived, identities, strict=True) if identity])
            unknown = [one.digest for one, identity in zip(arrived, identities, strict=True) if identity is None and not one.policy.trusted]
            known = await self._memo.recall(unknown)
            return tuple(await _together([self._identified(one, known.get(one.digest), trace) for one in arrived]))

    async def prepare(self, identified: Identified) -> Picture:
        """The prepared picture: at once when it is at hand, else decoded now."""
        if identified.picture is not None:
            return identified.picture
        with self._counted():
            picture = await self._prepared(identified)
        if picture.image_hash != identified.image_hash:
            # Only a store that lies gets here. An answer under that hash would be another picture's.
            raise Unavailable("The picture's identity had changed. Try again.", retry_after=1)
        return picture

    async def take(self, data: bytes, detail: str | None = None) -> Picture:
        """The prepared picture of an uploaded file."""
        with self._counted():
            return await self._prepared(self._accept(PictureSource(0, "file", detail, None, None), data))

    async def close(self) -> None:
        tasks = [shared.task for shared in self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._pool.close()

    def _decode(self, source: PictureSource) -> bytes:
        assert source.base64 is not None  # noqa: S101 - the caller has looked
        if len(source.base64) * 3 // 4 - 2 > self._settings.max_bytes:
            raise _about(source.param, headers.too_many_bytes(self._settings))
        try:
            return pybase64.b64decode(source.base64, validate=True)
        except (binascii.Error, ValueError):
            raise PictureRefused(
                "The picture is not base64. Use the standard alphabet (A-Z a-z 0-9 + /) with padding, without line breaks or spaces.",
                code="invalid_base64_image",
                param=source.param,
            ) from None

    async def _fetched(self, source: PictureSource, trace: Trace | None) -> _Sent:
        began = time.perf_counter()
        try:
            data = await self._fetch(source)
        finally:
            if trace is not None:
                trace.note("fetch", began)
        return self._accept(source, data)

    def _accept(self, source: PictureSource, data: bytes) -> _Sent:
        """Bytes that may be opened. Those that were judged before are known by their digest."""
        policy = self._policy(source.detail)
        digest = blake3(data, key=self._key(policy)).digest() if len(data) <= self._settings.max_bytes else b""
        header = self._memo.header(digest)
        if header is None:
            try:
                header = self._memo.note(digest, headers.read(data, self._settings))
            except PictureRefused as refused:
                raise _about(source.param, refused) from None
        self._metrics.image_bytes.observe(len(data))
        self._metrics.image_pixels.observe(header.pixels)
        if source.notes is not None:
            source.notes[policy.name] = digest, header, len(data)
        return _Sent(source.param, data, len(data), digest, header, policy)

    def _known_again(self, source: PictureSource) -> _Sent | None:
        """What `_accept` said of the very same base64, without a look at it."""
        if not source.notes:
            return None
        policy = self._policy(source.detail)
        found = source.notes.get(policy.name)
        if found is None:
            return None
        digest, header, size = found
        self._metrics.image_bytes.observe(size)
        self._metrics.image_pixels.observe(header.pixels)
        return _Sent(source.param, source, size, digest, header, policy)

    def _bytes(self, sent: _Sent | Identified) -> bytes:
        return self._decode(sent.data) if isinstance(sent.data, PictureSource) else sent.data

    def _policy(self, detail: str | None) -> Policy:
        policy = self._policies.get(detail)
        if policy is None:
            policy = self._policies[detail] = choose(self._settings, detail)
        return policy

    async def _identified(self, sent: _Sent, recalled: Identity | None, trace: Trace | None) -> Identified:
        identity = recalled or self._memo.identity(sent.digest)
        if identity is None:
            began = time.perf_counter()
            picture = await self._prepared(sent)
            if trace is not None:
                trace.note("prepare", began)
            identity = Identity(picture.image_hash, picture.width, picture.height)
        return self._known(sent, identity)

    def _known(self, sent: _Sent, identity: Identity) -> Identified:
        picture = self._memo.picture(sent.digest)
        return Identified(sent.param, *identity, sent.data, sent.sent_bytes, sent.digest, sent.header, sent.policy, picture)

    async def _prepared(self, sent: _Sent | Identified) -> Picture:
        if sent.policy.trusted:
            return imaging.trusted(self._bytes(sent), sent.header, sent.policy, sent.digest)
        picture = self._memo.picture(sent.digest)
        if picture is not None:
            return picture
        shared = self._under_way.get(sent.digest)
        if shared is None:
            shared = self._under_way[sent.digest] = _Shared(asyncio.create_task(self._make(sent)))
        shared.riders += 1
        try:
            return await asyncio.shield(shared.task)
        except PictureRefused as refused:
            raise _about(sent.param, refused) from None
        finally:
            shared.riders -= 1
            if not shared.riders:
                # Forgotten before it is cancelled, so that a newcomer starts afresh.
                self._forget(sent.digest, shared)
                shared.task.cancel()

    async def _make(self, sent: _Sent | Identified) -> Picture:
        weight = sent.header.pixels * (WEBP_WEIGHT if sent.header.format == "webp" else 1)
        took, picture = await self._pool.run(weight, partial(_timed, partial(imaging.prepare, self._bytes(sent), sent.header, sent.policy)))
        self._metrics.image_prepare.observe(took)
        identity = self._memo.keep(sent.digest, picture)
        self._memo.share(sent.digest, identity)
        return picture

    def _forget(self, digest: bytes, shared: _Shared) -> None:
        if self._under_way.get(digest) is shared:
            del self._under_way[digest]

    def _key(self, policy: Policy) -> bytes:
        """The digest's key: another policy, or another decoder where one is used, is another entry."""
        if policy.name not in self._keys:
            name = policy.name if policy.trusted else f"{policy.name} {imaging.DECODERS}"
            self._keys[policy.name] = blake3(name.encode(), derive_key_context=BYTES_CONTEXT).digest()
        return self._keys[policy.name]

    @contextmanager
    def _counted(self) -> Iterator[None]:
        try:
            yield
        except PictureRefused as refused:
            self._metrics.image_rejected.labels(refused.code).inc()
            raise


def _about(param: str | None, refused: PictureRefused) -> PictureRefused:
    """The same refusal, naming the part of this request: a refusal may be shared by several."""
    return PictureRefused(refused.message, code=refused.code or "image_parse_error", param=refused.param or param)


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    """Seconds and result: the time in the thread, without the wait for it."""
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


async def _together(steps: Sequence[Coroutine[Any, Any, T]]) -> list[T]:
    """All results, in order; the first failure ends the others."""
    if len(steps) == 1:
        return [await steps[0]]
    tasks = [asyncio.create_task(step) for step in steps]
    try:
        return list(await asyncio.gather(*tasks))
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
