"""Whatever lies in the store and whatever becomes of it, a request sees a right hit, a miss, or that the store is down."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from tests.unit.answers.rig import completion

from sightline.answers.cache import Cache, Down, Hit, Miss
from sightline.answers.keys import Key, make_key
from sightline.errors import Unavailable
from sightline.settings import Cache as CacheSettings
from sightline.store.base import StoreError
from sightline.store.memory import MemoryStore
from sightline.telemetry.metrics import Metrics
from sightline.wire.folding import stamp, unstamp

CAT, DOG = "ca" * 32, "d0" * 32
BODY = completion()


class Shop:
    """A cache over a memory store, with clocks that stand still."""

    def __init__(self) -> None:
        self.now = 1_000_000.0
        self.store = MemoryStore(10**6, 10**5, lambda: self.now)
        self.settings = CacheSettings(value_bytes=5000)
        self.metrics = Metrics()
        self.cache = Cache(self.store, self.settings, self.metrics, lambda: self.now)

    @property
    def discarded(self) -> float:
        return self.metrics.registry.get_sample_value("sightline_backend_errors_total", {"backend": "cache", "operation": "value"}) or 0.0

    async def keep(self, key: Key, body: bytes = BODY) -> bool:
        return self.cache.keep(key, body, 60, await self.cache.look_up(key))


def key(*images: str, tenant: str = "acme", question: str = "q") -> Key:
    return make_key(tenant=tenant, generation="1", model="plates", images=images, question=question)


async def test_what_was_kept_is_found_with_its_age() -> None:
    """The completion comes back byte for byte under whatever id and time it is given, and is gone after its TTL."""
    shop = Shop()
    assert await shop.cache.look_up(key(CAT)) == Miss()
    assert await shop.keep(key(CAT))
    shop.now += 42
    hit = await shop.cache.look_up(key(CAT))
    assert hit == Hit(unstamp(BODY), 42)
    assert stamp(hit.tail, id="chatcmpl-1", created=7) == BODY
    assert isinstance(await shop.cache.look_up(key(CAT), max_age=42), Hit)
    assert await shop.cache.look_up(key(CAT), max_age=41) == Miss()
    assert await shop.cache.look_up(key(CAT), read=False) == Miss()
    shop.now += 19
    assert await shop.cache.look_up(key(CAT)) == Miss()


async def test_a_clock_that_went_back_makes_nothing_negative() -> None:
    shop = Shop()
    assert await shop.keep(key(CAT))
    shop.now -= 7200
    hit = await shop.cache.look_up(key(CAT))
    assert isinstance(hit, Hit)
    assert hit.age == 0


@pytest.mark.parametrize(
    "body",
    [
        completion(finish_reason="length"),
        completion(finish_reason="content_filter"),
        completion(finish_reason="abort"),
        BODY[:-40],
        b'{"error":{"message":"no"}}',
        completion("x" * 5000),
    ],
    ids=["length", "filtered", "aborted", "truncated", "error", "too long"],
)
async def test_what_is_not_a_whole_answer_is_not_kept(body: bytes) -> None:
    shop = Shop()
    assert not await shop.keep(key(CAT), body)
    assert await shop.cache.look_up(key(CAT)) == Miss()


GARBLED: dict[str, Callable[[bytes], bytes]] = {
    "garbage": lambda value: b"\x80garbage",
    "one byte": lambda value: b"S",
    "truncated": lambda value: value[:-1],
    "longer": lambda value: value + b"}",
    "another schema": lambda value: value[:3] + b"\x09" + value[4:],
    "another time": lambda value: value[:4] + bytes(8) + value[12:],
    "a letter changed": lambda value: value.replace(b"WK1DEG", b"WK7DEG"),
    "only JSON": lambda value: BODY,
    "huge": lambda value: value + b" " * 20_000,
}


@pytest.mark.parametrize("garble", GARBLED.values(), ids=GARBLED)
async def test_a_value_that_is_not_right_is_a_miss_removed_and_counted(garble: Callable[[bytes], bytes]) -> None:
    shop = Shop()
    await shop.keep(key(CAT))
    [value] = await shop.store.get([key(CAT).answer])
    assert value is not None
    await shop.store.put(key(CAT).answer, garble(value), 60)
    assert await shop.cache.look_up(key(CAT)) == Miss()
    assert await shop.store.get([key(CAT).answer]) == [None]
    assert shop.discarded == 1


async def test_a_value_under_another_key_is_a_miss() -> None:
    """A store that mixes things up, or somebody who copies in it, makes nobody read another's answer."""
    shop = Shop()
    await shop.keep(key(CAT))
    [value] = await shop.store.get([key(CAT).answer])
    assert value is not None
    await shop.store.put(key(DOG).answer, value, 60)
    assert await shop.cache.look_up(key(DOG)) == Miss()
    assert shop.discarded == 1


async def test_forgetting_a_picture_forgets_it_for_one_tenant() -> None:
    """Every answer about it goes, also those about several pictures; other pictures' and tenants' stay."""
    shop = Shop()
    gone = [key(CAT), key(CAT, question="other"), key(CAT, DOG), key(DOG, CAT)]
    stay = [key(DOG), key(CAT, tenant="other"), key()]
    for each in gone + stay:
        assert await shop.keep(each)
    assert await shop.cache.forget_image("acme", CAT) == 4
    assert [isinstance(await shop.cache.look_up(each), Hit) for each in gone + stay] == [False] * 4 + [True] * 3


async def test_forgetting_by_the_hash_that_the_response_named() -> None:
    """Several pictures have one hash in `x-image-hash`; it is good for forgetting, too."""
    shop = Shop()
    both = key(CAT, DOG)
    assert both.image_hash is not None
    await shop.keep(both)
    assert await shop.cache.forget_image("acme", both.image_hash) == 1
    assert isinstance(await shop.cache.look_up(both), Miss)


@pytest.mark.parametrize("pictures", [(CAT,), (CAT, DOG)], ids=["alone", "among others"])
async def test_an_answer_in_the_making_is_forgotten_too(pictures: tuple[str, ...]) -> None:
    """Asked before, kept after: such an answer is never a hit, and one asked afterwards is."""
    shop = Shop()
    before = await shop.cache.look_up(key(*pictures))
    await shop.cache.forget_image("acme", CAT)
    shop.cache.keep(key(*pictures), BODY, 60, before)
    after = await shop.cache.look_up(key(*pictures))
    assert isinstance(after, Miss)
    assert after != before
    shop.cache.keep(key(*pictures), BODY, 60, after)
    assert isinstance(await shop.cache.look_up(key(*pictures)), Hit)


async def test_a_look_up_without_reading_sees_what_was_forgotten() -> None:
    """An answer asked for with no-cache is kept under today's epoch as any other."""
    shop = Shop()
    await shop.cache.forget_image("acme", CAT)
    seen = await shop.cache.look_up(key(CAT), read=False)
    shop.cache.keep(key(CAT), BODY, 60, seen)
    assert isinstance(await shop.cache.look_up(key(CAT)), Hit)


class Broken(MemoryStore):
    """A store that refuses some of its operations."""

    def __init__(self, *refused: str) -> None:
        super().__init__(10**6, 10**5)
        self.refused = refused
        self.calls = 0

    def _check(self, operation: str) -> None:
        self.calls += 1
        if operation in self.refused:
            raise StoreError(operation, "refused")

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        self._check("get")
        return await super().get(keys)

    async def put(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        self._check("put")
        await super().put(key, value, ttl, groups)

    def post(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        self.calls += 1
        if "put" not in self.refused:
            super().post(key, value, ttl, groups)

    async def delete(self, keys: Sequence[str]) -> int:
        self._check("delete")
        return await super().delete(keys)

    async def forget(self, group: str) -> int:
        self._check("forget")
        return await super().forget(group)


async def test_a_store_that_is_down_is_told_from_a_miss() -> None:
    """Nothing is raised, and what was asked while it was down is not kept, even if it is back by then."""
    store = Broken("get")
    cache = Cache(store, CacheSettings(), Metrics())
    seen = await cache.look_up(key(CAT))
    assert seen == Down()
    assert not cache.keep(key(CAT), BODY, 60, seen)
    store.refused = ()
    assert await cache.look_up(key(CAT)) == Miss()


async def test_a_store_that_cannot_write_still_reads() -> None:
    store = Broken("put", "delete")
    cache = Cache(store, CacheSettings(), Metrics())
    cache.keep(key(CAT), BODY, 60, Miss())
    store.refused = ()
    assert await cache.look_up(key(CAT)) == Miss()
    await store.put(key(CAT).answer, b"garbage", 60)
    store.refused = ("put", "delete")
    assert await cache.look_up(key(CAT)) == Miss()


@pytest.mark.parametrize("refused", ["put", "forget"])
async def test_forgetting_that_failed_is_said(refused: str) -> None:
    with pytest.raises(Unavailable):
        await Cache(Broken(refused), CacheSettings(), Metrics()).forget_image("acme", CAT)


@pytest.mark.parametrize("pictures", [(), (CAT,), (CAT, DOG)], ids=["none", "one", "two"])
async def test_a_look_up_is_one_round_trip(pictures: tuple[str, ...]) -> None:
    store = Broken()
    cache = Cache(store, CacheSettings(), Metrics())
    await cache.look_up(key(*pictures))
    assert store.calls == 1


async def test_forgetting_and_keeping_at_once_leave_nothing_stale() -> None:
    """However a purge and a keeping interleave, what was asked before the purge is not found after it."""
    shop = Shop()
    before = await shop.cache.look_up(key(CAT))
    forgetting = asyncio.create_task(shop.cache.forget_image("acme", CAT))
    await asyncio.sleep(0)
    shop.cache.keep(key(CAT), BODY, 60, before)
    await forgetting
    assert isinstance(await shop.cache.look_up(key(CAT)), Miss)
