"""Taking from limits: what is asked for, what came of it, and the quotas themselves, here in memory (`shared` has those in Redis)."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, NamedTuple, Protocol

from sightline.limits.gcra import EMPTY, Decision, Level, Rate, changed, decide, refilled
from sightline.store.base import Store

FEW = 1000  # levels in memory that are not worth sweeping
MOST = 100_000  # levels kept in memory; beyond, the least recently used is forgotten, as a flood of addresses would have it

Kind = Literal["requests", "tokens", "images"]
Whose = Literal["key", "tenant"]


class Charge(NamedTuple):
    """What one request costs of one rate. `on_hit`: also when the answer is kept already.

    A tuple, as the others here, since a frozen dataclass takes three times as long to make, and each request makes several.
    """

    key: str
    kind: Kind
    whose: Whose
    rate: Rate
    cost: int
    on_hit: bool

    def free(self) -> "Charge":
        return Charge(self.key, self.kind, self.whose, self.rate, 0, self.on_hit)


class Slot(NamedTuple):
    """One of `limit` places, held by `owner` until given back, or until `lease` seconds pass without a renewal."""

    key: str
    whose: Whose
    limit: int
    owner: str
    lease: float


class Order(NamedTuple):
    """All of it or nothing. `answer`: a value under the first of `lookups` is a hit; it takes no slot and costs only what is `on_hit`."""

    charges: Sequence[Charge] = ()
    slots: Sequence[Slot] = ()
    lookups: Sequence[str] = ()
    answer: bool = False

    def after(self, values: Sequence[bytes | None] | None) -> "Order":
        """The order as the values looked up leave it."""
        if not (self.answer and values and values[0] is not None):
            return self
        return Order([charge if charge.on_hit else charge.free() for charge in self.charges], (), self.lookups, self.answer)

    def share(self, replicas: int) -> "Order":
        """The part of it that one of several replicas may give away alone: at least one, else small limits would refuse all."""
        return self._replace(
            charges=[charge._replace(rate=replace(charge.rate, limit=_part(charge.rate.limit, replicas))) for charge in self.charges],
            slots=[slot._replace(limit=_part(slot.limit, replicas)) for slot in self.slots],
        )


class Taken(NamedTuple):
    """`order` as it was carried out, `by` whom it is to be settled. `decisions` answer its charges, `held` (by others) its slots.

    `values` answer the look-ups; None when they could not be asked.
    """

    admitted: bool
    order: Order
    by: "Quotas"
    values: list[bytes | None] | None
    decisions: list[Decision]
    held: list[int]


class Quotas(Protocol):
    """Raises StoreError when nothing could be taken or settled."""

    async def take(self, order: Order) -> Taken: ...

    async def settle(self, changes: Sequence[Charge], back: Sequence[Slot] = (), renewed: Sequence[Slot] = ()) -> None:
        """Adds each change's cost (negative gives back) to its rate, gives slots back, and renews others' leases."""
        ...

    def post(self, changes: Sequence[Charge], back: Sequence[Slot] = ()) -> None:
        """`settle` for nobody who waits: whatever is taken afterwards finds it done. What fails is counted, and no more is said."""
        ...

    @property
    def replicas(self) -> int:
        """Gateways on these quotas, this one included, as the last sign of life found."""
        ...

    async def beat(self) -> None:
        """A sign of life, to be given a few times within a lease; where replicas share, it counts them. Never raises."""
        ...

    async def leave(self) -> None:
        """The last call: this replica is counted no more. Never raises."""
        ...


def judged(order: Order, levels: Sequence[Level], now: float, *, admitted: bool) -> list[Decision]:
    """What the levels mean for the charges; when the order was refused, nothing was taken, and what would have fitted shows its level."""
    if admitted:
        return [decide(charge.rate, level, charge.cost, now) for charge, level in zip(order.charges, levels, strict=True)]
    decisions = []
    for charge, level in zip(order.charges, levels, strict=True):
        decision = decide(charge.rate, level, charge.cost, now)
        decisions.append(decide(charge.rate, level, 0, now) if decision.admitted else decision)
    return decisions


class MemoryQuotas:
    """Quotas of this process. `clock` gives seconds since the epoch, `store` answers look-ups."""

    def __init__(self, store: Store | None = None, clock: Callable[[], float] = time.time) -> None:
        self._store = store
        self._clock = clock
        self._levels: OrderedDict[str, tuple[Rate, Level]] = OrderedDict()
        self._held: dict[str, dict[str, float]] = {}

    async def take(self, order: Order) -> Taken:
        values = await self._store.get(order.lookups) if self._store is not None and order.lookups else None
        order = order.after(values)
        now = self._clock()
        levels = [self._levels.get(charge.key, (charge.rate, EMPTY))[1] for charge in order.charges]
        held = [self._others(slot, now) for slot in order.slots]
        admitted = all(
            decide(charge.rate, level, charge.cost, now).admitted for charge, level in zip(order.charges, levels, strict=True)
        ) and all(count < slot.limit for count, slot in zip(held, order.slots, strict=True))
        decisions = judged(order, levels, now, admitted=admitted)
        if admitted:
            for charge, decision in zip(order.charges, decisions, strict=True):
                if charge.cost > 0:
                    self.note(charge, decision.level, now)
            self.hold(order.slots)
        return Taken(admitted, order, self, values, decisions, held)

    async def settle(self, changes: Sequence[Charge], back: Sequence[Slot] = (), renewed: Sequence[Slot] = ()) -> None:
        self.post(changes, back)
        self.hold(renewed)

    def post(self, changes: Sequence[Charge], back: Sequence[Slot] = ()) -> None:
        now = self._clock()
        for change in changes:
            _, level = self._levels.get(change.key, (change.rate, EMPTY))
            self.note(change, changed(change.rate, level, change.cost, now), now)
        for slot in back:
            owners = self._held.get(slot.key, {})
            owners.pop(slot.owner, None)
            if not owners:
                self._held.pop(slot.key, None)

    def hold(self, slots: Sequence[Slot]) -> None:
        """Notes slots as held, from now for their leases' time."""
        now = self._clock() if slots else 0.0
        for slot in slots:
            self._held.setdefault(slot.key, {})[slot.owner] = now + slot.lease

    @property
    def replicas(self) -> int:
        return 1

    async def beat(self) -> None:
        """There is nobody else."""

    async def leave(self) -> None:
        """As `beat`."""

    def note(self, charge: Charge, level: Level, now: float) -> None:
        """Keeps a level, and forgets a few that have become empty since they were last used: their keys may never come again."""
        self._levels[charge.key] = charge.rate, level
        self._levels.move_to_end(charge.key)
        for _ in range(2):
            if len(self._levels) <= FEW:
                break
            key, (rate, oldest) = next(iter(self._levels.items()))
            if len(self._levels) <= MOST and refilled(rate, oldest, now).used > 0:
                break
            del self._levels[key]

    def _others(self, slot: Slot, now: float) -> int:
        """How many others hold a slot. A lease that ran out, or one further away than any lease reaches, is a dead owner's."""
        owners = self._held.get(slot.key)
        if owners is None:
            return 0
        for owner in [owner for owner, until in owners.items() if not now < until <= now + slot.lease]:
            del owners[owner]
        return len(owners) - (slot.owner in owners)


def _part(limit: int, replicas: int) -> int:
    return max(1, limit // replicas) if limit else 0
