"""Limits that replicas share are exact while Redis answers, and never too generous when it does not. A real redis-server."""

import asyncio
import base64
from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest
from pydantic import SecretStr
from tests.fakes.redis_server import RedisServer
from tests.fakes.until import until

from sightline.errors import RateLimited
from sightline.limits.callers import Caller
from sightline.limits.limiter import Cost, Limiter, Permit
from sightline.limits.quotas import MemoryQuotas
from sightline.limits.shared import RedisQuotas, ReplicatedQuotas, open_quotas
from sightline.settings import Allowance, Cache
from sightline.store.open import open_store
from sightline.store.redis import RedisStore
from sightline.telemetry.metrics import Metrics

NOW = 1_800_000_000.0


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Replica:
    """One gateway's limits. All replicas of a test have one clock, which stands still: what is admitted is then a plain number."""

    def __init__(self, url: str, clock: Clock) -> None:
        self.metrics = Metrics()
        store = open_store(url, Cache(timeout=1.0), self.metrics)
        assert isinstance(store, RedisStore)
        self.store = store
        self.quotas = ReplicatedQuotas(RedisQuotas(store, largest=1000, clock=clock), MemoryQuotas(clock=clock), self.metrics)
        self.limiter = Limiter(self.quotas, self.metrics, clock)

    async def admitted(self, caller: Caller, count: int, cost: Cost | None = None) -> list[Permit]:
        """Of `count` requests at once, those that were let in."""
        outcomes = await asyncio.gather(*(self.limiter.take(caller, cost or Cost()) for _ in range(count)), return_exceptions=True)
        assert all(isinstance(outcome, Permit | RateLimited) for outcome in outcomes)
        return [outcome for outcome in outcomes if isinstance(outcome, Permit)]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def replicas(redis_server: RedisServer, clock: Clock) -> AsyncIterator[tuple[Replica, Replica]]:
    pair = Replica(redis_server.url, clock), Replica(redis_server.url, clock)
    for replica in (*pair, *pair):
        await replica.quotas.beat()
    yield pair
    for replica in pair:
        await replica.limiter.close()
        await replica.store.close()


def caller(**limits: int) -> Caller:
    return Caller("acme", "k1", frozenset({"chat"}), limits=Allowance(**limits))


def held(redis_server: RedisServer) -> int:
    """The key's slots in Redis."""
    return int(redis_server.tell("ZCARD", "sightline:limits:{acme}:key:k1:slots")[1:])


async def both(replicas: tuple[Replica, Replica], caller: Caller, each: int, cost: Cost | None = None) -> list[Permit]:
    one, other = await asyncio.gather(*(replica.admitted(caller, each, cost) for replica in replicas))
    return one + other


@pytest.mark.parametrize(
    ("limit", "cost", "fit"),
    [
        pytest.param({"requests_per_minute": 60}, Cost(), 60, id="requests"),
        pytest.param({"tokens_per_minute": 1000}, Cost(tokens=7), 142, id="tokens"),
        pytest.param({"images_per_minute": 50}, Cost(images=3), 16, id="images"),
        pytest.param({"concurrent_requests": 37}, Cost(), 37, id="concurrent"),
        pytest.param({"tokens_per_day": 500}, Cost(tokens=10), 50, id="tokens of the day"),
        pytest.param({"requests_per_minute": 0}, Cost(), 0, id="nothing"),
    ],
)
async def test_of_200_at_once_over_two_replicas_exactly_the_limit_is_admitted(
    replicas: tuple[Replica, Replica], limit: dict[str, int], cost: Cost, fit: int
) -> None:
    assert len(await both(replicas, caller(**limit), 100, cost)) == fit


async def test_a_place_given_back_by_one_replica_is_free_for_the_other(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    for permit in await one.admitted(caller(concurrent_requests=5), 5):
        permit.refund()
    await one.limiter.close()

    assert len(await other.admitted(caller(concurrent_requests=5), 10)) == 5


async def test_a_dead_replica_s_places_come_back_when_their_leases_run_out(replicas: tuple[Replica, Replica], clock: Clock) -> None:
    dead, living = replicas
    await dead.admitted(caller(concurrent_requests=2), 2)
    assert len(await living.admitted(caller(concurrent_requests=2), 1)) == 0

    clock.now += 31

    assert len(await living.admitted(caller(concurrent_requests=2), 3)) == 2


async def test_a_replica_that_renews_keeps_its_places(replicas: tuple[Replica, Replica], clock: Clock) -> None:
    one, other = replicas
    await one.admitted(caller(concurrent_requests=2), 2)
    for _ in range(3):
        clock.now += 20
        await one.limiter.renew()

    assert len(await other.admitted(caller(concurrent_requests=2), 3)) == 0


async def test_with_redis_down_from_the_start_both_together_admit_no_more_than_the_limit(
    replicas: tuple[Replica, Replica], redis_server: RedisServer
) -> None:
    redis_server.kill()

    assert len(await both(replicas, caller(requests_per_minute=60), 100)) == 60


async def test_what_was_used_before_redis_went_is_not_given_again(replicas: tuple[Replica, Replica], redis_server: RedisServer) -> None:
    """Each replica goes on from the last level it saw."""
    someone = caller(requests_per_minute=60)
    before = len(await replicas[0].admitted(someone, 20)) + len(await replicas[1].admitted(someone, 20))
    redis_server.kill()

    after = len(await both(replicas, someone, 100))

    assert before == 40
    assert after > 0
    assert before + after <= 60 + 20  # the replica that asked last knew of all 40, the other of its first 20 only


async def test_the_local_share_is_counted(replicas: tuple[Replica, Replica], redis_server: RedisServer) -> None:
    redis_server.kill()

    await replicas[0].admitted(caller(requests_per_minute=60), 3)

    assert replicas[0].metrics.registry.get_sample_value("sightline_limits_local_total") == 3


async def test_a_limit_smaller_than_the_replicas_still_lets_each_admit_one(
    replicas: tuple[Replica, Replica], redis_server: RedisServer
) -> None:
    redis_server.kill()

    assert len(await both(replicas, caller(requests_per_minute=1), 10)) == 2


async def test_slots_taken_from_redis_count_when_it_has_gone(replicas: tuple[Replica, Replica], redis_server: RedisServer) -> None:
    someone = caller(concurrent_requests=10)
    held = await replicas[0].admitted(someone, 4)
    redis_server.kill()

    assert len(await replicas[0].admitted(someone, 10)) == 1  # its part is 5
    for permit in held:
        permit.refund()
    await replicas[0].limiter.close()
    assert len(await replicas[0].admitted(someone, 10)) == 4


async def test_shared_limits_are_back_when_redis_is(replicas: tuple[Replica, Replica], redis_server: RedisServer) -> None:
    redis_server.kill()
    await replicas[0].admitted(caller(requests_per_minute=60), 5)
    redis_server.start()

    async with asyncio.timeout(5):
        while not isinstance((await replicas[0].limiter.take(caller(), Cost(), ["any"])).values, list):  # noqa: ASYNC110 - the store heals unasked
            await asyncio.sleep(0.05)

    assert len(await both(replicas, caller(requests_per_minute=30), 40)) == 30


async def test_forgotten_scripts_are_sent_again(replicas: tuple[Replica, Replica], redis_server: RedisServer) -> None:
    someone = caller(requests_per_minute=10)
    await replicas[0].admitted(someone, 5)
    redis_server.tell("SCRIPT", "FLUSH")

    assert len(await both(replicas, someone, 20)) == 5


async def test_without_a_clock_of_ones_own_redis_tells_the_time(redis_server: RedisServer) -> None:
    """Replicas whose clocks are hours apart share one limit."""
    metrics = Metrics()
    store = open_store(redis_server.url, Cache(timeout=1.0), metrics)
    assert isinstance(store, RedisStore)
    limiter = Limiter(RedisQuotas(store, largest=1000), metrics, lambda: 0.0)

    permit = await limiter.take(caller(requests_per_minute=60), Cost())

    reset = dict(permit.verdict.headers())[b"x-ratelimit-reset-requests"]
    assert reset == b"1s"
    await store.close()


async def test_a_replica_that_leaves_is_counted_no_more(replicas: tuple[Replica, Replica]) -> None:
    one, other = replicas
    assert (one.quotas.replicas, other.quotas.replicas) == (2, 2)

    await one.quotas.leave()
    await other.quotas.beat()

    assert other.quotas.replicas == 1


@pytest.mark.parametrize("keys", [None, base64.b64encode(b"k" * 32).decode()], ids=["plain", "sealed"])
async def test_the_quotas_that_go_with_a_store_look_up_what_it_keeps(redis_server: RedisServer, keys: str | None) -> None:
    """Together with the limits in one round trip, or before them where the value has to be opened."""
    cache, metrics = Cache(timeout=1.0, encryption_keys=None if keys is None else SecretStr(keys)), Metrics()
    store = open_store(redis_server.url, cache, metrics)
    limiter = Limiter(open_quotas(store, cache, metrics), metrics, lambda: 0.0)
    await store.put("answer", b"kept", 60)
    someone = caller(requests_per_minute=10, tokens_per_minute=10)

    permit = await limiter.take(someone, Cost(5), ["answer"], answer=True)

    assert permit.values == [b"kept"]
    assert dict(permit.verdict.headers())[b"x-ratelimit-remaining-tokens"] == b"10"
    await limiter.close()
    await store.close()


async def test_a_place_that_redis_gave_too_late_comes_back_at_once(replicas: tuple[Replica, Replica], redis_server: RedisServer) -> None:
    """A look that outlasts our patience is carried out all the same, when Redis goes on; its place is not left to its lease."""
    replica, someone = replicas[0], caller(concurrent_requests=1)
    for permit in await replica.admitted(someone, 1):  # so that there is a connection and the script is known
        permit.settle(0)
    await replica.limiter.close()
    redis_server.pause()
    (permit,) = await replica.admitted(someone, 1)
    redis_server.resume()

    async def free() -> bool:
        return held(redis_server) == 0

    assert permit.verdict.taken.order.slots
    await until(free)


async def test_a_place_given_back_while_redis_was_away_is_free_when_it_is_back(
    replicas: tuple[Replica, Replica], redis_server: RedisServer
) -> None:
    """Redis remembers that it was taken, and was not told of its end. The clock stands still, so that no lease runs out."""
    replica, someone = replicas[0], caller(concurrent_requests=2)
    [permit] = await replica.admitted(someone, 1)
    redis_server.pause()
    for _ in range(3):  # then it is not tried any more
        for other in await replica.admitted(someone, 1):
            other.settle(0)
    permit.settle(0)
    redis_server.resume()
    assert held(redis_server) >= 1

    async def free() -> bool:
        if held(redis_server) == 0:
            return True
        for other in await replica.admitted(someone, 1):
            other.settle(0)
        return False

    await until(free)
