"""Sealed values: nothing readable reaches the store, keys rotate, and what was tampered with is absent."""

import base64

import pytest

from sightline.settings import SettingsError
from sightline.store.memory import MemoryStore
from sightline.store.sealed import SealedStore, read_keys
from sightline.telemetry.metrics import Metrics

OLD, NEW = bytes(32), bytes(range(32))


class Bench:
    """One inner store seen through differently keyed seals."""

    def __init__(self) -> None:
        self.inner = MemoryStore(10**6, 10**5)
        self.metrics = Metrics()

    def sealed(self, *keys: bytes) -> SealedStore:
        return SealedStore(self.inner, keys, self.metrics)

    def unopened(self) -> float | None:
        return self.metrics.registry.get_sample_value("sightline_backend_errors_total", {"backend": "store", "operation": "open"})


@pytest.fixture
def bench() -> Bench:
    return Bench()


async def test_nothing_readable_is_stored(bench: Bench) -> None:
    """The same answer twice gives two sealed values, in neither of which it can be seen."""
    store = bench.sealed(NEW)
    await store.put("a", b"the answer", 60)
    await store.put("b", b"the answer", 60)
    first, second = await bench.inner.get(["a", "b"])
    assert first
    assert second
    assert b"answer" not in first + second
    assert first[17:] != second[17:]


async def test_keys_rotate(bench: Bench) -> None:
    """The newest key seals, older ones still open, and what another replica's key sealed is absent but left alone."""
    await bench.sealed(OLD).put("a", b"from before", 60)
    rotated = bench.sealed(NEW, OLD)
    await rotated.put("b", b"from now", 60)
    assert await rotated.get(["a", "b"]) == [b"from before", b"from now"]
    assert await bench.sealed(OLD).get(["a", "b"]) == [b"from before", None]
    assert await bench.sealed(NEW).get(["a", "b"]) == [None, b"from now"]
    assert await rotated.get(["a", "b"]) == [b"from before", b"from now"]
    assert bench.unopened() == 2


async def test_a_value_under_another_name_does_not_open(bench: Bench) -> None:
    """Whoever can write to the store cannot hand one caller's answer to another: the name is part of the seal."""
    store = bench.sealed(NEW)
    await store.put("tenant a", b"secret", 60)
    [value] = await bench.inner.get(["tenant a"])
    assert value
    await bench.inner.put("tenant b", value, 60)
    assert await store.get(["tenant a", "tenant b"]) == [b"secret", None]
    assert await bench.inner.get(["tenant b"]) == [None]
    assert bench.unopened() == 1


async def test_any_changed_byte_is_noticed(bench: Bench) -> None:
    """A sealed value with one bit turned, cut short, or that was never sealed, is absent and counted; none but intact ones open."""
    store = bench.sealed(NEW)
    await store.put("a", b"x", 60)
    [value] = await bench.inner.get(["a"])
    assert value
    turned = [value[:n] + bytes([value[n] ^ 1]) + value[n + 1 :] for n in range(len(value))]
    cut = [value[:n] for n in range(1, len(value))]
    for broken in [*turned, *cut, value + b"\0", b"garbage", bytes(100)]:
        await bench.inner.put("a", broken, 60)
        assert await store.get(["a"]) == [None], broken
    assert bench.unopened() == len(turned) + len(cut) + 3
    await bench.inner.put("a", value, 60)
    assert await store.get(["a"]) == [b"x"]


def test_keys_are_read_newest_first() -> None:
    """Keys are separated by commas, with or without white space."""
    text = f"{base64.b64encode(NEW).decode()}, {base64.b64encode(OLD).decode()}\n"
    assert read_keys(text) == [NEW, OLD]


@pytest.mark.parametrize("text", ["", "hunter2", base64.b64encode(bytes(16)).decode(), "é" * 44, f"{base64.b64encode(NEW).decode()},"])
def test_wrong_keys_are_refused_without_repeating_them(text: str) -> None:
    """The message names the setting and the fix, and no key."""
    with pytest.raises(SettingsError) as refused:
        read_keys(text)
    assert str(refused.value).startswith("cache.encryption_keys: ")
    assert "openssl rand" in str(refused.value)
    assert not text or text not in str(refused.value)
