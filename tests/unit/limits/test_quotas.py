"""Quotas in memory and in Redis are one arithmetic: the same orders, step by step, have the same outcome."""

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fakes.redis_server import RedisServer

from sightline.limits.gcra import Rate
from sightline.limits.quotas import FEW, Charge, MemoryQuotas, Order, Slot, Taken
from sightline.limits.shared import RedisQuotas
from sightline.settings import Cache
from sightline.store.memory import MemoryStore
from sightline.store.open import open_store
from sightline.store.redis import RedisStore
from sightline.telemetry.metrics import Metrics

NOW = 1_800_000_000.0
LARGEST = 1000

RATES = (Rate(7, 60.0), Rate(1000, 60.0), Rate(3, 1.0), Rate(100, 3600.0, whole=True), Rate(0, 60.0))
PLACES = (("a", 1), ("b", 3), ("c", 0))

charges = st.lists(
    st.builds(
        lambda which, cost, on_hit: Charge(f"rate:{which}", "tokens", "key", RATES[which], cost, on_hit),
        st.integers(0, len(RATES) - 1),
        st.sampled_from([0, 1, 2, 3, 5, 7, 50, 100, 500, 1000]),  # some fit exactly
        st.booleans(),
    ),
    max_size=3,
    unique_by=lambda charge: charge.key,
)
slots = st.lists(
    st.builds(
        lambda place, owner: Slot(f"slot:{place[0]}", "key", place[1], owner, 30.0),
        st.sampled_from(PLACES),
        st.sampled_from(["x", "y", "z", "w"]),
    ),
    max_size=2,
    unique_by=lambda slot: slot.key,
)
orders = st.builds(Order, charges, slots, st.sampled_from([(), ("kept",), ("none", "kept"), ("kept", "none")]), st.booleans())
changes = st.lists(
    st.builds(
        lambda which, cost: Charge(f"rate:{which}", "tokens", "key", RATES[which], cost, on_hit=False),
        st.integers(0, len(RATES) - 2),
        st.integers(-60, 60),
    ),
    max_size=2,
    unique_by=lambda charge: charge.key,
)
steps = st.lists(
    st.tuples(st.one_of(st.floats(0, 40), st.floats(-7200, 7200)), st.one_of(orders, st.tuples(changes, slots, st.booleans()))),
    max_size=12,
)


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    folder: Path = tmp_path_factory.mktemp("redis")
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def store(server: RedisServer, runner: asyncio.Runner) -> Iterator[RedisStore]:
    store = open_store(server.url, Cache(timeout=5), Metrics())
    assert isinstance(store, RedisStore)
    yield store
    runner.run(store.close())


def outcome(taken: Taken) -> tuple[object, ...]:
    return taken.admitted, taken.values, taken.decisions, taken.held, taken.order


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(steps, st.booleans())
def test_memory_and_lua_agree_step_by_step(
    server: RedisServer,
    store: RedisStore,
    runner: asyncio.Runner,
    steps: list[tuple[float, Order | tuple[list[Charge], list[Slot], bool]]],
    together: bool,
) -> None:
    """Under any waits and jumps of the clock, and whether look-ups travel with the script or before it."""

    async def walk() -> None:
        clock = Clock()
        kept = MemoryStore(10_000, LARGEST)
        for one in (kept, store):
            await one.put("kept", b"an answer", 3600)
        memory, redis = MemoryQuotas(kept, clock), RedisQuotas(store, largest=LARGEST, kept=None if together else store, clock=clock)
        for wait, step in steps:
            clock.now += wait
            if isinstance(step, Order):
                assert outcome(await redis.take(step)) == outcome(await memory.take(step))
            else:
                changes, slots, gives_back = step
                for quotas in (memory, redis):
                    await quotas.settle(changes, back=slots if gives_back else (), renewed=() if gives_back else slots)

    server.tell("FLUSHALL")
    runner.run(walk())


def test_every_key_in_redis_expires(server: RedisServer, store: RedisStore, runner: asyncio.Runner) -> None:
    """SECURITY: each has a time to live, however it came about."""
    server.tell("FLUSHALL")
    quotas = RedisQuotas(store, largest=LARGEST)
    made = [Charge(f"rate:{i}", "tokens", "key", rate, 3, on_hit=True) for i, rate in enumerate(RATES[:4])]
    place = Slot("slot", "key", 5, "me", 30.0)

    runner.run(quotas.take(Order(made[:2], [place])))
    runner.run(quotas.settle(made[2:], renewed=[Slot("other", "key", 5, "me", 30.0)]))

    keys = server.tell("KEYS", "*").split()
    assert sorted(keys) == [b"other", b"rate:0", b"rate:1", b"rate:2", b"rate:3", b"slot"]
    assert all(int(server.tell("PTTL", key)[1:]) > 0 for key in keys)


def test_a_value_longer_than_any_of_ours_is_not_fetched(server: RedisServer, store: RedisStore, runner: asyncio.Runner) -> None:
    server.tell("FLUSHALL")
    server.tell("SET", "answer", b"x" * 10 * LARGEST)
    quotas = RedisQuotas(store, largest=LARGEST)

    taken = runner.run(quotas.take(Order([Charge("r", "requests", "key", RATES[0], 1, on_hit=True)], (), ["answer"])))

    assert taken.values == [None]


def test_what_lies_under_a_limit_s_key_by_mistake_counts_as_nothing_used(
    server: RedisServer, store: RedisStore, runner: asyncio.Runner
) -> None:
    server.tell("FLUSHALL")
    server.tell("LPUSH", "rate:list", "x")
    server.tell("SET", "rate:text", "garbage")
    order = Order([Charge(f"rate:{kind}", "requests", "key", RATES[0], 1, on_hit=True) for kind in ("list", "text")])

    taken = runner.run(RedisQuotas(store, largest=LARGEST).take(order))

    assert [decision.remaining for decision in taken.decisions] == [6, 6]


def test_a_take_with_its_look_up_is_one_round_trip(server: RedisServer, store: RedisStore, runner: asyncio.Runner) -> None:
    quotas = RedisQuotas(store, largest=LARGEST)
    order = Order([Charge("r", "requests", "key", RATES[1], 1, on_hit=True)], [Slot("s", "key", 9, "me", 30.0)], ["k"], answer=True)
    runner.run(quotas.take(order))
    server.tell("CONFIG", "RESETSTAT")

    runner.run(quotas.take(order))

    calls = [line for line in server.tell("INFO", "commandstats").splitlines() if b"evalsha" in line]
    assert calls[0].startswith(b"cmdstat_evalsha:calls=1,")
    assert b"cmdstat_eval:" not in server.tell("INFO", "commandstats")


async def test_memory_forgets_levels_that_have_become_empty() -> None:
    """A flood of addresses must not stay: each new one sweeps two of those that were used longest ago."""
    clock = Clock()
    quotas = MemoryQuotas(clock=clock)
    for flood in range(3):
        for i in range(2 * FEW):
            await quotas.take(Order([Charge(f"{flood} {i}", "requests", "key", Rate(60, 60.0), 1, on_hit=True)]))
        clock.now += 61

    assert len(quotas._levels) <= 2 * FEW
