"""Charges callers for what they ask, in one round trip with the look-up of a kept answer, and settles when the answer is done.

A `Permit` is what an admitted request holds: tokens reserved by estimate, and a slot. `settle` puts the real number in place and gives
the slot back, `refund` gives everything back. Neither waits for the store.
"""

import asyncio
import contextlib
import secrets
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple, TypeVar

from sightline.limits.callers import Caller
from sightline.limits.gcra import Rate
from sightline.limits.quotas import Charge, Kind, Order, Quotas, Slot, Whose
from sightline.limits.verdict import Verdict
from sightline.settings import Allowance
from sightline.store.base import StoreError
from sightline.telemetry.metrics import Metrics

PREFIX = "sightline:limits:"
MINUTE, DAY = 60.0, 86_400.0
BEAT = 2.0  # seconds between signs of life: how late replicas hear of each other
LEASE = 30.0  # seconds after which a dead replica's slots come back
RENEWED = 5  # beats from one renewal of slots to the next: a third of their lease
K = TypeVar("K")
V = TypeVar("V")

PLANS = 10_000  # callers whose limits are kept ready, and refusals remembered


class Cost(NamedTuple):
    """What a request will cost if it must be asked of an engine: `tokens` = prompt + pictures + most of the answer."""

    tokens: int = 0
    images: int = 0


@dataclass(frozen=True, slots=True)
class _Plan:
    """A caller's limits, ready to be charged. It holds as long as they are the very same two objects: a new key file brings new ones."""

    limits: Allowance
    tenant_limits: Allowance
    rates: tuple[tuple[str, Kind, Whose, Rate], ...]
    places: tuple[tuple[str, Whose, int], ...]


@dataclass(frozen=True, slots=True)
class _Shut:
    """A caller whose requests were found used up `at` a time, for so many `seconds`; as a plan, it holds for these limits."""

    limits: Allowance
    tenant_limits: Allowance
    verdict: Verdict
    at: float
    seconds: float


class Permit:
    """An admitted request's hold. `values` answer the look-ups, None when the store could not be asked."""

    __slots__ = ("_done", "_limiter", "values", "verdict")

    def __init__(self, limiter: "Limiter", verdict: Verdict) -> None:
        self.verdict = verdict
        self.values = verdict.taken.values
        self._limiter = limiter
        self._done = False

    def lines(self) -> bytes:
        """The `x-ratelimit-…` header lines of an answer."""
        return self.verdict.lines()

    def settle(self, tokens: int) -> None:
        """The answer is done and cost `tokens` (0 when another's engine call or a kept answer gave it). Only the first ending counts."""
        charges = self.verdict.taken.order.charges
        self._end([charge._replace(cost=tokens - charge.cost) for charge in charges if charge.kind == "tokens" and charge.cost != tokens])

    def keep(self) -> None:
        """What was reserved stays charged, for an engine call that goes on for others after its caller has left; the slot is given back."""
        self._end(())

    def refund(self) -> None:
        """Nothing came of the request, and not by its caller's doing: everything is given back."""
        self._end([charge._replace(cost=-charge.cost) for charge in self.verdict.taken.order.charges if charge.cost])

    def _end(self, changes: Sequence[Charge]) -> None:
        if not self._done:
            self._done = True
            self._limiter.end(self, changes)


class Limiter:
    def __init__(self, quotas: Quotas, metrics: Metrics, clock: Callable[[], float]) -> None:
        """`clock` gives seconds that never go back (loop or monotonic time): it times how long a refusal is remembered."""
        self._quotas = quotas
        self._clock = clock
        self._refused = {kind: metrics.rate_limited.labels(kind) for kind in ("requests", "tokens", "images", "concurrency")}
        self._plans: OrderedDict[tuple[str, str], _Plan] = OrderedDict()
        self._shut: OrderedDict[tuple[str, str], _Shut] = OrderedDict()
        self._holding: set[Permit] = set()
        self._name, self._number = secrets.token_hex(8), count()  # together they name each request's slots, among all replicas'

    def check(self, caller: Caller) -> None:
        """Refuses at once a caller who has used up his requests, as the last `take` found: before his body is read or a picture opened."""
        shut = self._shut.get((caller.tenant, caller.key_id))
        if shut is None or shut.limits is not caller.limits or shut.tenant_limits is not caller.tenant_limits:
            return
        later = self._clock() - shut.at
        if later < shut.seconds and (refusal := shut.verdict.refusal(later)) is not None:
            self._refused["requests"].inc()
            raise refusal

    async def take(self, caller: Caller, cost: Cost, lookups: Sequence[str] = (), *, answer: bool = False) -> Permit:
        """Looks `lookups` up and charges `caller`, in one round trip; raises RateLimited.

        `answer` says that the first look-up is for a kept answer: a value there costs no tokens and takes no slot.
        """
        plan = self._plan(caller)
        tokens, images = cost
        charges = [
            Charge(key, kind, whose, rate, 1 if kind == "requests" else tokens if kind == "tokens" else images, kind != "tokens")
            for key, kind, whose, rate in plan.rates
        ]
        return await self._take(caller, Order(charges, self._slots(plan), lookups, answer))

    async def take_more(self, caller: Caller, cost: Cost) -> Permit:
        """For a request whose kept answer turned out unusable: the tokens and the slot that a hit did not take."""
        plan = self._plan(caller)
        charges = [
            Charge(key, kind, whose, rate, cost.tokens if kind == "tokens" else 0, on_hit=False) for key, kind, whose, rate in plan.rates
        ]
        return await self._take(caller, Order(charges, self._slots(plan)))

    async def run(self) -> None:
        """Renews the leases of slots in use, for ever; its owner cancels it and then awaits `close`."""
        for number in count():
            await self._quotas.beat()
            if number % RENEWED == 0:
                await self.renew()
            await asyncio.sleep(BEAT)

    async def renew(self) -> None:
        for permit in list(self._holding):
            if permit not in self._holding:
                continue  # given back while another was renewed: renewing it now would take it again
            taken = permit.verdict.taken
            with contextlib.suppress(StoreError):  # the leases outlast two renewals
                await taken.by.settle((), renewed=taken.order.slots)

    async def close(self) -> None:
        """Says good-bye; what was settled before has been, by then."""
        await self._quotas.leave()

    def end(self, permit: Permit, changes: Sequence[Charge]) -> None:
        self._holding.discard(permit)
        slots = permit.verdict.taken.order.slots
        if changes or slots:
            permit.verdict.taken.by.post(changes, slots)

    async def _take(self, caller: Caller, order: Order) -> Permit:
        try:
            taken = await self._quotas.take(order)
        except asyncio.CancelledError:
            # Redis may have been asked already, and nobody is left to hear what it said. Slots go back, taken or not; tokens and
            # requests stay charged, since giving back what was refused would be a gift.
            if order.slots:
                self._quotas.post((), order.slots)
            raise
        verdict = Verdict(taken)
        refusal = verdict.refusal()
        if refusal is None:
            permit = Permit(self, verdict)
            if taken.order.slots:
                self._holding.add(permit)
            return permit
        kind = verdict.refused_kind()
        self._refused[kind].inc()
        if kind == "requests":
            shut = _Shut(caller.limits, caller.tenant_limits, verdict, self._clock(), refusal.retry_after or 0.0)
            _keep(self._shut, (caller.tenant, caller.key_id), shut)
        raise refusal

    def _plan(self, caller: Caller) -> _Plan:
        plan = self._plans.get((caller.tenant, caller.key_id))
        if plan is None or plan.limits is not caller.limits or plan.tenant_limits is not caller.tenant_limits:
            plan = _plan(caller)
            _keep(self._plans, (caller.tenant, caller.key_id), plan)
        return plan

    def _slots(self, plan: _Plan) -> Sequence[Slot]:
        if not plan.places:
            return ()
        owner = f"{self._name}-{next(self._number):x}"
        return [Slot(key, whose, limit, owner, LEASE) for key, whose, limit in plan.places]


def _plan(caller: Caller) -> _Plan:
    rates: list[tuple[str, Kind, Whose, Rate]] = []
    places: list[tuple[str, Whose, int]] = []
    sides: tuple[tuple[Whose, Allowance], ...] = ("key", caller.limits), ("tenant", caller.tenant_limits)
    for whose, allowance in sides:
        base = f"{PREFIX}{{{caller.tenant}}}:" + (f"key:{caller.key_id}:" if whose == "key" else "tenant:")
        rates += [(base + name, kind, whose, rate) for name, kind, rate in _rates(allowance)]
        if allowance.concurrent_requests is not None:
            places.append((base + "slots", whose, allowance.concurrent_requests))
    return _Plan(caller.limits, caller.tenant_limits, tuple(rates), tuple(places))


def _rates(allowance: Allowance) -> Iterator[tuple[str, Kind, Rate]]:
    if allowance.requests_per_minute is not None:
        yield "requests", "requests", Rate(allowance.requests_per_minute, MINUTE)
    if allowance.tokens_per_minute is not None:
        yield "tokens", "tokens", Rate(allowance.tokens_per_minute, MINUTE)
    if allowance.tokens_per_day is not None:
        yield "day", "tokens", Rate(allowance.tokens_per_day, DAY, whole=True)
    if allowance.images_per_minute is not None:
        yield "images", "images", Rate(allowance.images_per_minute, MINUTE)


def _keep(kept: OrderedDict[K, V], key: K, value: V) -> None:
    """Keeps `value` under `key`, and forgets the oldest when there are too many."""
    kept[key] = value
    kept.move_to_end(key)
    if len(kept) > PLANS:
        kept.popitem(last=False)
