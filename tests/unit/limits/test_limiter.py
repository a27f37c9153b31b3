"""What a request costs its caller: by the way it ends, and by who else is charged for it."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import pytest

from sightline.errors import RateLimited
from sightline.limits.callers import Caller
from sightline.limits.limiter import LEASE, Cost, Limiter, Permit
from sightline.limits.quotas import Charge, MemoryQuotas, Order, Slot, Taken
from sightline.settings import Allowance
from sightline.store.memory import MemoryStore
from sightline.telemetry.metrics import Metrics

NOW = 1_800_000_000.0


@dataclass
class Clock:
    now: float = NOW

    def __call__(self) -> float:
        return self.now


class Limits:
    """A limiter over memory with its clock and store, and what is left to a caller as he would read it."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.store = MemoryStore(10_000, 1000)
        self.metrics = Metrics()
        self.quotas = MemoryQuotas(self.store, self.clock)
        self.limiter = Limiter(self.quotas, self.metrics, self.clock)

    async def left(self, caller: Caller) -> dict[str, int]:
        await self.limiter.close()
        headers = (await self.limiter.take_more(caller, Cost())).verdict.headers()
        return {
            name.removeprefix(b"x-ratelimit-remaining-").decode(): int(value)
            for name, value in headers
            if name.startswith(b"x-ratelimit-remaining-")
        }

    def refused(self, kind: str) -> float | None:
        return self.metrics.registry.get_sample_value("sightline_rate_limited_total", {"kind": kind})


@pytest.fixture
def limits() -> Limits:
    return Limits()


def caller(key_id: str = "k1", tenant: str = "acme", own: Allowance | None = None, shared: Allowance | None = None) -> Caller:
    return Caller(tenant, key_id, frozenset({"chat"}), limits=own or Allowance(), tenant_limits=shared or Allowance())


ALL = Allowance(requests_per_minute=10, tokens_per_minute=1000, images_per_minute=20)
COST = Cost(tokens=300, images=2)


async def test_a_request_reserves_its_estimate(limits: Limits) -> None:
    someone = caller(own=ALL)

    await limits.limiter.take(someone, COST)

    assert await limits.left(someone) == {"requests": 9, "tokens": 700, "images": 18}


@pytest.mark.parametrize(("real", "left"), [(120, 880), (300, 700), (450, 550), (0, 1000), (1500, 0)])
async def test_a_done_answer_costs_what_it_really_cost(limits: Limits, real: int, left: int) -> None:
    someone = caller(own=ALL)

    (await limits.limiter.take(someone, COST)).settle(real)

    assert await limits.left(someone) == {"requests": 9, "tokens": left, "images": 18}


async def test_what_came_to_nothing_is_given_back_whole(limits: Limits) -> None:
    someone = caller(own=ALL)

    (await limits.limiter.take(someone, COST)).refund()

    assert await limits.left(someone) == {"requests": 10, "tokens": 1000, "images": 20}


async def test_only_the_first_ending_counts(limits: Limits) -> None:
    someone = caller(own=ALL)
    permit = await limits.limiter.take(someone, COST)

    permit.settle(100)
    permit.refund()
    permit.settle(900)

    assert (await limits.left(someone))["tokens"] == 900


async def test_a_kept_answer_costs_no_tokens_and_no_slot_and_comes_along(limits: Limits) -> None:
    someone = caller(own=ALL.model_copy(update={"concurrent_requests": 1}))
    await limits.store.put("answer", b"kept", 60)

    permits = [await limits.limiter.take(someone, COST, ["answer", "epoch"], answer=True) for _ in range(2)]

    assert [permit.values for permit in permits] == [[b"kept", None]] * 2
    assert await limits.left(someone) == {"requests": 8, "tokens": 1000, "images": 16}


async def test_a_kept_answer_is_served_to_one_whose_tokens_are_used_up(limits: Limits) -> None:
    someone = caller(own=ALL)
    (await limits.limiter.take(someone, COST)).settle(5000)
    await limits.limiter.close()
    await limits.store.put("answer", b"kept", 60)

    permit = await limits.limiter.take(someone, COST, ["answer"], answer=True)

    assert permit.values == [b"kept"]


async def test_a_look_up_that_is_no_answer_spares_nothing(limits: Limits) -> None:
    someone = caller(own=ALL)
    await limits.store.put("epoch", b"kept", 60)

    await limits.limiter.take(someone, COST, ["epoch"])

    assert (await limits.left(someone))["tokens"] == 700


async def test_an_unusable_kept_answer_is_charged_afterwards(limits: Limits) -> None:
    someone = caller(own=ALL)
    await limits.store.put("answer", b"garbage", 60)
    await limits.limiter.take(someone, COST, ["answer"], answer=True)

    await limits.limiter.take_more(someone, COST)

    assert await limits.left(someone) == {"requests": 9, "tokens": 700, "images": 18}


async def test_a_refused_request_costs_nothing(limits: Limits) -> None:
    someone = caller(own=ALL)

    with pytest.raises(RateLimited):
        await limits.limiter.take(someone, Cost(tokens=300, images=21))

    assert await limits.left(someone) == {"requests": 10, "tokens": 1000, "images": 20}
    assert limits.refused("images") == 1


async def test_the_tenant_s_limit_counts_all_his_keys_and_no_other_tenant_s(limits: Limits) -> None:
    shared = Allowance(requests_per_minute=3)
    for key_id in ("k1", "k2", "k3"):
        await limits.limiter.take(caller(key_id, shared=shared), Cost())

    with pytest.raises(RateLimited, match="for this tenant"):
        await limits.limiter.take(caller("k4", shared=shared), Cost())
    await limits.limiter.take(caller("k4", tenant="other", shared=shared), Cost())


async def test_one_key_s_limit_is_not_another_s(limits: Limits) -> None:
    own = Allowance(requests_per_minute=1)
    await limits.limiter.take(caller("k1", own=own), Cost())

    await limits.limiter.take(caller("k2", own=own), Cost())
    with pytest.raises(RateLimited):
        await limits.limiter.take(caller("k1", own=own), Cost())


async def test_a_limit_changed_in_the_key_file_counts_from_the_next_request_on(limits: Limits) -> None:
    await limits.limiter.take(caller(own=Allowance(requests_per_minute=10)), Cost())

    permit = await limits.limiter.take(caller(own=Allowance(requests_per_minute=20)), Cost())

    assert (b"x-ratelimit-remaining-requests", b"18") in permit.verdict.headers()


async def test_places_come_free_as_answers_end(limits: Limits) -> None:
    someone = caller(own=Allowance(concurrent_requests=2))
    permits = [await limits.limiter.take(someone, Cost()) for _ in range(2)]
    with pytest.raises(RateLimited) as refusal:
        await limits.limiter.take(someone, Cost())
    assert refusal.value.code == "concurrency_limit_exceeded"
    assert limits.refused("concurrency") == 1

    permits[0].settle(0)
    await limits.limiter.close()

    await limits.limiter.take(someone, Cost())


async def test_a_place_is_kept_as_long_as_it_is_renewed(limits: Limits) -> None:
    someone = caller(own=Allowance(concurrent_requests=1))
    permit = await limits.limiter.take(someone, Cost())
    for _ in range(4):
        limits.clock.now += LEASE / 2
        await limits.limiter.renew()

    with pytest.raises(RateLimited):
        await limits.limiter.take(someone, Cost())
    permit.refund()
    limits.clock.now += LEASE + 1
    await limits.limiter.renew()

    await limits.limiter.take(someone, Cost())


async def test_a_day_s_tokens_are_settled_like_a_minute_s(limits: Limits) -> None:
    someone = caller(own=Allowance(tokens_per_minute=1000, tokens_per_day=500))

    (await limits.limiter.take(someone, COST)).settle(120)

    assert await limits.left(someone) == {"tokens": 380}


async def test_whoever_has_used_up_his_requests_is_refused_before_anything_is_read(limits: Limits) -> None:
    someone = caller(own=Allowance(requests_per_minute=1))
    limits.limiter.check(someone)
    await limits.limiter.take(someone, Cost())
    limits.limiter.check(someone)
    with pytest.raises(RateLimited):
        await limits.limiter.take(someone, Cost())

    with pytest.raises(RateLimited):
        limits.limiter.check(someone)
    limits.limiter.check(caller("k2", own=Allowance(requests_per_minute=1)))
    limits.clock.now += 60
    limits.limiter.check(someone)


async def test_a_caller_without_limits_is_only_looked_up_for(limits: Limits) -> None:
    await limits.store.put("answer", b"kept", 60)

    permit = await limits.limiter.take(caller(), COST, ["answer"], answer=True)

    assert (permit.values, permit.verdict.headers()) == ([b"kept"], ())


class _Slow:
    """Quotas whose answer comes late: the order has been carried out by then."""

    replicas = 1

    def __init__(self, quotas: MemoryQuotas) -> None:
        self._quotas = quotas
        self.carried_out = asyncio.Event()

    async def take(self, order: Order) -> Taken:
        taken = await self._quotas.take(order)
        self.carried_out.set()
        await asyncio.Event().wait()
        return taken

    async def settle(self, changes: Sequence[Charge], back: Sequence[Slot] = (), renewed: Sequence[Slot] = ()) -> None:
        await self._quotas.settle(changes, back, renewed)

    def post(self, changes: Sequence[Charge], back: Sequence[Slot] = ()) -> None:
        self._quotas.post(changes, back)

    async def beat(self) -> None:
        await self._quotas.beat()

    async def leave(self) -> None:
        await self._quotas.leave()


async def test_a_client_who_leaves_while_it_is_taken_leaves_no_slot_behind(limits: Limits) -> None:
    someone = caller(own=Allowance(concurrent_requests=1))
    slow = _Slow(limits.quotas)
    limiter = Limiter(slow, limits.metrics, limits.clock)
    asking: asyncio.Task[Permit] = asyncio.create_task(limiter.take(someone, COST))
    await slow.carried_out.wait()
    with pytest.raises(RateLimited):
        await limits.limiter.take(someone, COST)

    asking.cancel()
    await asyncio.wait([asking])
    await limiter.close()

    await limits.limiter.take(someone, COST)


async def test_a_place_given_back_while_others_are_renewed_stays_free(limits: Limits, monkeypatch: pytest.MonkeyPatch) -> None:
    someone = caller(own=Allowance(concurrent_requests=2))
    permits = [await limits.limiter.take(someone, COST) for _ in range(2)]
    settle = limits.quotas.settle

    async def all_end_during_the_first(changes: Sequence[Charge], back: Sequence[Slot] = (), renewed: Sequence[Slot] = ()) -> None:
        await settle(changes, back, renewed)
        for permit in permits if renewed else ():
            permit.settle(0)
        await asyncio.sleep(0)

    monkeypatch.setattr(limits.quotas, "settle", all_end_during_the_first)
    await limits.limiter.renew()
    await limits.limiter.close()

    for _ in range(2):
        await limits.limiter.take(someone, COST)
    with pytest.raises(RateLimited):
        await limits.limiter.take(someone, COST)


async def test_a_reservation_that_is_kept_stays_charged_and_frees_its_place(limits: Limits) -> None:
    someone = caller(own=Allowance(tokens_per_minute=1000, concurrent_requests=1))

    (await limits.limiter.take(someone, COST)).keep()

    assert await limits.left(someone) == {"tokens": 700}


async def test_other_limits_end_what_is_remembered_of_a_refusal(limits: Limits) -> None:
    for allowance in (Allowance(requests_per_minute=0), Allowance(requests_per_minute=1)):
        someone = caller(own=allowance)
        limits.limiter.check(someone)
        if allowance.requests_per_minute == 0:
            with pytest.raises(RateLimited):
                await limits.limiter.take(someone, COST)
            with pytest.raises(RateLimited):
                limits.limiter.check(someone)
