"""Quotas that replicas share in Redis, and each replica's own part of them while Redis cannot be asked.

Taking and looking a kept answer up are one round trip. All keys of a tenant carry its name as a hash tag, so that a Redis Cluster keeps
them together; there the look-up, which lies elsewhere, goes first.
"""

import secrets
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence

import structlog

from sightline.limits.gcra import Decision, Level
from sightline.limits.quotas import Charge, MemoryQuotas, Order, Quotas, Slot, Taken, judged
from sightline.settings import Cache
from sightline.store.base import OperableStore, Store, StoreError
from sightline.store.open import SLACK_BYTES
from sightline.store.redis import RedisStore, Script
from sightline.telemetry.metrics import Metrics

PREFIX = "sightline:limits:"
MOST_SEEN = 10_000  # callers whose last levels are remembered
MOST_GIVEN = 1_000  # requests whose slots were given back last
ALIVE = 30.0  # seconds after its last sign of life that a replica is still counted

_log: structlog.stdlib.BoundLogger = structlog.get_logger("sightline.limits.shared")


def open_quotas(store: OperableStore, cache: Cache, metrics: Metrics) -> Quotas:
    """The quotas that go with a store: in memory, or shared over Redis with a local part for when it is away."""
    inner = getattr(store, "inner", store)  # of a store that seals its values, whose module is only there with its extra
    if not isinstance(inner, RedisStore):
        return MemoryQuotas(store)
    kept = store if inner is not store or not inner.one_slot else None
    return ReplicatedQuotas(RedisQuotas(inner, largest=cache.value_bytes + SLACK_BYTES, kept=kept), MemoryQuotas(), metrics)


class RedisQuotas:
    """`clock` None leaves the time to Redis, so that replicas whose clocks differ agree; tests give their own.

    `largest` is the longest value that a look-up brings, in bytes. `kept` answers look-ups when the script cannot, in a round trip of
    their own: in a Cluster they lie on other servers, and sealed values have to be opened.
    """

    def __init__(self, store: RedisStore, *, largest: int, kept: Store | None = None, clock: Callable[[], float] | None = None) -> None:
        self._store = store
        self._largest = largest
        self._kept = kept
        self._clock = clock
        self._take, self._settle = Script("take"), Script("settle")

    async def take(self, order: Order) -> Taken:
        values: list[bytes | None] | None = None
        lookups = order.lookups
        if not (lookups or order.charges or order.slots):
            return Taken(admitted=True, order=order, by=self, values=values, decisions=[], held=[])
        if lookups and (self._kept is not None or not (order.charges or order.slots)):
            values = await (self._kept or self._store).get(lookups)
            lookups = ()
            order = order.after(values)
            if not (order.charges or order.slots):
                return Taken(admitted=True, order=order, by=self, values=values, decisions=[], held=[])
        charges, slots = order.charges, order.slots
        args: list[str | bytes | int] = [len(lookups), len(charges), self._now(), self._largest, 1 if order.answer else 0]
        keys = list(lookups)
        for key, _, _, rate, cost, on_hit in charges:
            keys.append(key)
            args += (rate.limit, rate.period_text, 1 if rate.whole else 0, cost, 1 if on_hit else 0)
        for key, _, limit, owner, lease in slots:
            keys.append(key)
            args += (limit, owner, repr(lease))
        reply = await self._store.evaluate("take", self._take, keys, args)
        at, admitted = float(reply[0]), bool(reply[1])
        first = 2 + len(lookups)
        last = first + len(charges)
        if lookups:
            found = reply[2:first]
            values = [value if value is None or len(value) <= self._largest else None for value in found]
            order = order.after(found)  # as the script saw it: a value that is too long was one to it
        levels = [Level(float(used), at) for used in reply[first:last]]
        return Taken(admitted, order, self, values, judged(order, levels, at, admitted=admitted), reply[last:])

    async def settle(self, changes: Sequence[Charge], back: Sequence[Slot] = (), renewed: Sequence[Slot] = ()) -> None:
        await self._store.evaluate("settle", self._settle, *self._settlement(changes, back, renewed))

    def post(self, changes: Sequence[Charge], back: Sequence[Slot] = ()) -> None:
        self._store.send("settle", self._settle, *self._settlement(changes, back, ()))

    def _settlement(
        self, changes: Sequence[Charge], back: Sequence[Slot], renewed: Sequence[Slot]
    ) -> tuple[list[str], list[str | bytes | int]]:
        """Keys and arguments of `settle.lua`."""
        args: list[str | bytes | int] = [len(changes), self._now()]
        for change in changes:
            args += (change.rate.limit, change.rate.period_text, 1 if change.rate.whole else 0, change.cost)
        for slot in back:
            args += [slot.owner, 0]
        for slot in renewed:
            args += [slot.owner, repr(slot.lease)]
        return [*[change.key for change in changes], *[slot.key for slot in (*back, *renewed)]], args

    @property
    def replicas(self) -> int:
        return 1

    async def beat(self) -> None:
        """Alone it counts nobody: `ReplicatedQuotas` does."""

    async def leave(self) -> None:
        """As `beat`."""

    def _now(self) -> str:
        return "" if self._clock is None else repr(self._clock())


class ReplicatedQuotas:
    """The shared quotas while they answer, else this replica's part: limit ÷ last known replicas, from the last known levels on."""

    def __init__(self, shared: Quotas, local: MemoryQuotas, metrics: Metrics) -> None:
        self._replicas = 1
        self._told = metrics.replicas
        self._told.set(1)
        self._shared = shared
        self._local = local
        self._is_local = False
        self._seen: OrderedDict[str, tuple[Sequence[Charge], Sequence[Decision]]] = OrderedDict()
        self._given_back: deque[Sequence[Slot]] = deque(maxlen=MOST_GIVEN)
        self._local_takes = metrics.limits_local
        self._place = Slot(PREFIX + "replicas", "tenant", 2**31, secrets.token_hex(8), ALIVE)

    @property
    def replicas(self) -> int:
        return self._replicas

    async def take(self, order: Order) -> Taken:
        try:
            taken = await self._shared.take(order)
        except StoreError as error:
            return await self._take_locally(order, error)
        if self._is_local:
            self._is_local = False
            self._give_back_again()
            _log.info("limits.shared_again")
        if taken.decisions:
            self._remember(taken)
        if taken.admitted and taken.order.slots:
            self._local.hold(taken.order.slots)
        return Taken(taken.admitted, taken.order, self, taken.values, taken.decisions, taken.held)

    async def settle(self, changes: Sequence[Charge], back: Sequence[Slot] = (), renewed: Sequence[Slot] = ()) -> None:
        """Of what was taken from the shared quotas; what was taken from the local ones is settled with them."""
        await self._local.settle((), back, renewed)
        await self._shared.settle(changes, back, renewed)

    def post(self, changes: Sequence[Charge], back: Sequence[Slot] = ()) -> None:
        if back:
            self._local.post((), back)
            self._given_back.append(back)
        self._shared.post(changes, back)

    def _give_back_again(self) -> None:
        """What was given back while Redis was going may never have come there, or before what it undoes: the slots would be held for the
        rest of their lease. To give back what nobody holds does nothing.
        """
        for back in self._given_back:
            self._shared.post((), back)
        self._given_back.clear()

    async def beat(self) -> None:
        """Says that this replica lives, and counts the others."""
        try:
            taken = await self._shared.take(Order(slots=[self._place]))
        except StoreError:
            return  # the last known number stands
        self._replicas = taken.held[0] + 1
        self._told.set(self._replicas)

    async def leave(self) -> None:
        try:
            await self._shared.settle((), back=[self._place])
        except StoreError:
            return  # its sign of life runs out

    def _remember(self, taken: Taken) -> None:
        """Keeps what a caller's limits were found to be, in case Redis is not there to ask next time."""
        key = taken.order.charges[0].key
        self._seen[key] = taken.order.charges, taken.decisions
        self._seen.move_to_end(key)  # of levels that several callers share the last found counts
        if len(self._seen) > MOST_SEEN:
            self._seen.popitem(last=False)

    def _recall(self) -> None:
        for charges, decisions in self._seen.values():
            for charge, decision in zip(charges, decisions, strict=True):
                used, at = decision.level
                if used > 0:
                    self._local.note(charge, Level(used / self._replicas, at), at)
        self._seen.clear()

    async def _take_locally(self, order: Order, error: StoreError) -> Taken:
        if order.slots:  # Redis may have given them all the same, and be late in saying so
            self._given_back.append(order.slots)
            self._shared.post((), order.slots)
        self._local_takes.inc()
        if not self._is_local:
            self._is_local = True
            self._recall()
            _log.warning("limits.local_share", operation=error.operation, replicas=self._replicas)
        return await self._local.take(order.share(self._replicas))
