"""The laws of the embedded store, against a model that is too simple to be wrong; time is injected."""

import tracemalloc
from collections import OrderedDict
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from sightline.store.memory import MemoryStore

LIMIT = 6_000
KEYS = st.sampled_from([f"key {n}" for n in range(8)])
GROUPS = st.lists(st.sampled_from(["red", "green", "blue"]), max_size=3, unique=True)
T = TypeVar("T")
OWNERS = st.sampled_from(["owner 1", "owner 2"])


def run(call: Coroutine[Any, Any, T]) -> T:
    """The result of a call that never waits."""
    try:
        call.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise AssertionError("the embedded store has nothing to wait for")


class AgainstModel(RuleBasedStateMachine):
    """The model keeps everything in order of use and finds by looking through it; only eviction is learned from the store's account."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0
        self.store = MemoryStore(LIMIT, 3_000, lambda: self.now)
        self.model: OrderedDict[str, tuple[bytes, float, frozenset[str]]] = OrderedDict()
        self.leases: dict[str, tuple[str, float]] = {}

    def alive(self, key: str) -> bool:
        return key in self.model and self.model[key][1] > self.now

    @rule(key=KEYS, size=st.integers(1, 2_500), ttl=st.floats(0.1, 100), groups=GROUPS)
    def put(self, key: str, size: int, ttl: float, groups: list[str]) -> None:
        value = bytes([size % 256]) * size
        run(self.store.put(key, value, ttl, groups))
        self.model.pop(key, None)
        self.model[key] = (value, self.now + ttl, frozenset(groups))
        kept = run(self.store.stats()).keys
        while len(self.model) > kept:  # what had to go was used longest ago
            self.model.popitem(last=False)

    @rule(keys=st.lists(KEYS, max_size=4))
    def get(self, keys: list[str]) -> None:
        expected = [self.model[key][0] if self.alive(key) else None for key in keys]
        assert run(self.store.get(keys)) == expected
        for key in keys:
            if self.alive(key):
                self.model.move_to_end(key)
            else:
                self.model.pop(key, None)

    @rule(keys=st.lists(KEYS, max_size=4))
    def delete(self, keys: list[str]) -> None:
        expected = len({key for key in keys if self.alive(key)})
        assert run(self.store.delete(keys)) == expected
        for key in keys:
            self.model.pop(key, None)

    @rule(group=st.sampled_from(["red", "green", "blue"]))
    def forget(self, group: str) -> None:
        members = [key for key, (_, _, groups) in self.model.items() if group in groups]
        assert run(self.store.forget(group)) == sum(map(self.alive, members))
        for key in members:
            del self.model[key]

    @rule(key=st.sampled_from(["lease 1", "lease 2"]), owner=OWNERS, ttl=st.floats(0.1, 50))
    def acquire(self, key: str, owner: str, ttl: float) -> None:
        holder, expires = self.leases.get(key, (owner, 0.0))
        free = holder == owner or expires <= self.now
        assert run(self.store.acquire(key, owner, ttl)) is free
        if free:
            self.leases[key] = (owner, self.now + ttl)

    @rule(key=st.sampled_from(["lease 1", "lease 2"]), owner=OWNERS)
    def release(self, key: str, owner: str) -> None:
        run(self.store.release(key, owner))
        if self.leases.get(key, ("", 0.0))[0] == owner:
            del self.leases[key]

    @rule(seconds=st.floats(0, 60))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def the_account_is_kept(self) -> None:
        stats = run(self.store.stats())
        assert stats.size <= LIMIT
        assert stats.keys == len(self.model)
        assert stats.size >= sum(len(value) + len(key) for key, (value, _, _) in self.model.items())


TestAgainstModel = AgainstModel.TestCase
TestAgainstModel.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)


@pytest.mark.parametrize("groups", [(), ("group of {}",), ("group of {}", "tenant")], ids=["alone", "one group", "two groups"])
@pytest.mark.parametrize("entries", [700, 3_000, 5_500], ids="{} entries".format)
def test_the_account_is_honest(groups: tuple[str, ...], entries: int) -> None:
    """What the store says that it holds is at least what Python has allocated for it, and not half as much again."""
    tracemalloc.start()
    try:
        store = MemoryStore(10**9, 10**6)
        before = tracemalloc.get_traced_memory()[0]
        for n in range(entries):
            key = f"a key of the length that keys have {n:040}"
            run(store.put(key, bytes(500), 60, [group.format(key) for group in groups]))
        held = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert held <= run(store.stats()).size <= 1.5 * held


def test_the_least_recently_used_goes_first() -> None:
    """A look-up counts as use: of three, the one neither looked up nor put lately makes room."""
    store = MemoryStore(LIMIT, 10**6)
    for key in ("a", "b", "c"):
        run(store.put(key, bytes(1_600), 60))
    run(store.get(["a"]))
    run(store.put("d", bytes(1_600), 60))
    found = run(store.get(["a", "b", "c", "d"]))
    assert [value is not None for value in found] == [True, False, True, True]


def test_a_value_larger_than_the_whole_store_is_not_kept() -> None:
    """It goes as it came, and takes all others with it rather than the bound."""
    store = MemoryStore(LIMIT, 10**6)
    run(store.put("small", b"x", 60))
    run(store.put("large", bytes(LIMIT), 60, ["group"]))
    assert run(store.get(["large"])) == [None]
    assert run(store.stats()).size <= LIMIT
