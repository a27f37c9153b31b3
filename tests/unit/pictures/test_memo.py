"""What is remembered of pictures: bounded in the process, shared through a store that may fail or lie."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.pictures.imaging import Picture
from sightline.pictures.memo import PICTURE_OVERHEAD, Identity, Memo
from sightline.store.base import StoreError
from sightline.telemetry.metrics import Metrics


class Shelf:
    """A store in a dict; `broken` makes it fail, `lie` answers for it."""

    def __init__(self) -> None:
        self.held: dict[str, bytes] = {}
        self.ttl = 0.0
        self.broken = False

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        if self.broken:
            raise StoreError("get", "it is broken")
        return [self.held.get(key) for key in keys]

    async def put(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        raise NotImplementedError

    def post(self, key: str, value: bytes, ttl: float, groups: Sequence[str] = ()) -> None:
        if not self.broken:
            self.held[key], self.ttl = value, ttl

    async def delete(self, keys: Sequence[str]) -> int:
        raise NotImplementedError

    async def forget(self, group: str) -> int:
        raise NotImplementedError

    async def acquire(self, key: str, owner: str, ttl: float) -> bool:
        raise NotImplementedError

    async def release(self, key: str, owner: str) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


def digest(number: int) -> bytes:
    return bytes([number]) * 32


def picture(number: int, size: int = 1000) -> Picture:
    return Picture(digest(number).hex(), bytes(size), "image/png", 30, 20, 60, 40, as_sent=False, policy="p")


def memo(room: int = 3, store: Shelf | None = None, metrics: Metrics | None = None) -> Memo:
    return Memo(room * (1000 + PICTURE_OVERHEAD), store, 60.0, metrics or Metrics())


def test_what_was_used_longest_ago_leaves() -> None:
    kept = memo()
    for number in range(3):
        kept.keep(digest(number), picture(number))
    kept.picture(digest(0))
    kept.keep(digest(3), picture(3))
    assert [kept.picture(digest(number)) is not None for number in range(4)] == [True, False, True, True]


def test_an_identity_outlives_its_picture() -> None:
    kept = memo(room=0)
    kept.keep(digest(1), picture(1))
    assert (None, Identity(digest(1).hex(), 30, 20)) == (kept.picture(digest(1)), kept.identity(digest(1)))


@given(sizes=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 3000)), max_size=40))
def test_never_more_bytes_than_allowed(sizes: list[tuple[int, int]]) -> None:
    kept = memo()
    for number, size in sizes:
        kept.keep(digest(number), picture(number, size))
    held = [found for number in range(10) if (found := kept.picture(digest(number)))]
    assert sum(len(one.encoded) + PICTURE_OVERHEAD for one in held) <= 3 * (1000 + PICTURE_OVERHEAD)


@given(image_hash=st.binary(min_size=32, max_size=32), width=st.integers(1, 65535), height=st.integers(1, 65535))
def test_an_identity_survives_the_store(image_hash: bytes, width: int, height: int) -> None:
    identity = Identity(image_hash.hex(), width, height)
    assert identity == Identity.unpack(digest(1), identity.pack(digest(1)))


@given(place=st.integers(0, 48), change=st.integers(1, 255))
def test_a_damaged_value_is_none(place: int, change: int) -> None:
    value = bytearray(Identity(digest(7).hex(), 30, 20).pack(digest(1)))
    value[place] ^= change
    assert Identity.unpack(digest(1), bytes(value)) is None


@pytest.mark.parametrize("value", [None, b"", b"x", bytes(49), bytes(1000)])
def test_nonsense_is_none(value: bytes | None) -> None:
    assert Identity.unpack(digest(1), value) is None


def test_a_value_that_belongs_to_other_bytes_is_none() -> None:
    """A store that mixes keys up cannot make one picture another."""
    assert Identity.unpack(digest(2), Identity(digest(7).hex(), 30, 20).pack(digest(1))) is None


async def test_another_replica_recalls() -> None:
    store = Shelf()
    here, there = memo(store=store), memo(store=store)
    here.share(digest(1), here.keep(digest(1), picture(1)))
    assert {digest(1): Identity(digest(1).hex(), 30, 20)} == await there.recall([digest(1), digest(2)])
    assert store.ttl == 60.0


async def test_a_store_that_fails_is_counted_and_knows_nothing() -> None:
    store, metrics = Shelf(), Metrics()
    store.broken = True
    kept = memo(store=store, metrics=metrics)
    kept.share(digest(1), Identity(digest(1).hex(), 1, 1))
    assert await kept.recall([digest(1)]) == {}
    labels = {"backend": "store", "operation": "get"}  # what could not be told is counted by the store itself
    assert metrics.registry.get_sample_value("sightline_backend_errors_total", labels) == 1
