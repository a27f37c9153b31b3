"""A cluster of two: slots that move are followed, and a node that dies takes only its own keys with it."""

import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from tests.fakes.redis_server import RedisServer, free_port
from tests.fakes.until import until

from sightline.settings import Cache
from sightline.store.base import OperableStore, StoreError
from sightline.store.cluster import slot_of
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics

HALF = 8192
LOW, HIGH = "{b}key", "{a}key"  # their slots are 3300 and 15495


@pytest.fixture
def nodes(tmp_path: Path) -> Iterator[tuple[RedisServer, RedisServer]]:
    """The first holds the lower half of the slots, the second the upper; both serve their own when the other is gone."""
    settings = ("--cluster-enabled", "yes", "--cluster-require-full-coverage", "no", "--cluster-port")
    low, high = (RedisServer(tmp_path / name, *settings, str(free_port())) for name in ("low", "high"))
    try:
        low.start()
        high.start()
        low.tell("CLUSTER", "ADDSLOTSRANGE", 0, HALF - 1)
        high.tell("CLUSTER", "ADDSLOTSRANGE", HALF, 2 * HALF - 1)
        high.tell("CLUSTER", "SET-CONFIG-EPOCH", 2)
        low.tell("CLUSTER", "MEET", "127.0.0.1", high.port, high.tell("CONFIG", "GET", "cluster-port").split()[1])
        limit = time.monotonic() + 15
        while not all(
            {b"cluster_state:ok", b"cluster_slots_ok:16384"} <= set(node.tell("CLUSTER", "INFO").split()) for node in (low, high)
        ):
            assert time.monotonic() < limit
            time.sleep(0.02)
        yield low, high
    finally:
        low.kill()
        high.kill()


@pytest.fixture
async def store(nodes: tuple[RedisServer, RedisServer]) -> AsyncIterator[OperableStore]:
    opened = open_store(f"redis+cluster://127.0.0.1:{nodes[0].port}", Cache(timeout=1.0), Metrics())
    yield opened
    await opened.close()


async def works(store: OperableStore) -> bool:
    """Whether values on both nodes, of a group on one of them, can be put, found together and forgotten."""
    try:
        await store.put(LOW, b"low", 60, ["group"])
        await store.put(HIGH, b"high", 60, ["group"])
        return await store.get([HIGH, LOW, "none"]) == [b"high", b"low", None] and await store.forget("group") == 2
    except StoreError:
        return False


def test_slots_are_those_of_the_specification() -> None:
    """The examples of the cluster specification: what stands in the first braces counts, unless it is nothing."""
    assert slot_of("123456789") == 0x31C3
    assert slot_of("{user1000}.following") == slot_of("user1000")
    assert slot_of("foo{}{bar}") == slot_of(b"foo{}{bar}") != slot_of("bar")
    assert slot_of("foo{{bar}}zap") == slot_of("{bar")
    assert slot_of("foo{bar}{zap}") == slot_of("bar")
    assert slot_of(LOW) < HALF <= slot_of(HIGH)


async def test_a_slot_that_moves_is_followed(nodes: tuple[RedisServer, RedisServer], store: OperableStore) -> None:
    """While a slot moves (ASK) and after (MOVED), its keys are found where they are, without an error."""
    low, high = nodes
    assert await works(store)
    slot = slot_of(LOW)
    low_id, high_id = low.tell("CLUSTER", "MYID"), high.tell("CLUSTER", "MYID")
    high.tell("CLUSTER", "SETSLOT", slot, "IMPORTING", low_id)
    low.tell("CLUSTER", "SETSLOT", slot, "MIGRATING", high_id)
    assert await works(store)
    for node in (high, low):
        node.tell("CLUSTER", "SETSLOT", slot, "NODE", high_id)
    assert await works(store)
    assert await works(store)


async def test_a_dead_node_takes_only_its_own_keys(nodes: tuple[RedisServer, RedisServer], store: OperableStore) -> None:
    """Keys of the living node are found between failures of the other, and all are when it is back."""
    assert await works(store)
    await store.put(LOW, b"low", 60)
    nodes[1].kill()
    with pytest.raises(StoreError):
        await store.get([HIGH])
    assert await store.get([LOW]) == [b"low"]
    nodes[1].start()
    await until(lambda: works(store))


async def test_purge_and_stats_ask_every_node(nodes: tuple[RedisServer, RedisServer], store: OperableStore) -> None:
    """The command line's questions are answered for the whole cluster."""
    for n in range(100):
        await store.put(f"{n}", b"x", 60)
    assert (await store.stats()).keys == 100
    assert 0 < int(nodes[0].tell("DBSIZE")[1:]) < 100
    assert await store.purge("*") == 100
