"""How much of a limit is used, decided without I/O: the generic cell rate algorithm as a continuous-state leaky bucket.

ITU-T I.371 gives GCRA in two equal forms. This one keeps (used, at) and not a theoretical arrival time, because whole costs then add up
exactly (N of N are admitted, whatever the clock's rounding) and a clock that jumps back neither frees nor locks anybody.
`take.lua` and `settle.lua` do the same arithmetic in the same order; a test walks them side by side.
"""

import math
from dataclasses import dataclass, field
from typing import NamedTuple


@dataclass(frozen=True, slots=True)
class Rate:
    """`limit` a `period` of seconds; also what may be used at once. It flows back steadily or, when `whole`, all at once as a period
    (counted from the epoch, in UTC) begins: a day's tokens are a budget and never more than `limit` on one day.
    """

    limit: int
    period: float
    whole: bool = False
    period_text: str = field(init=False, repr=False, compare=False, default="")  # as the scripts are told it

    def __post_init__(self) -> None:
        object.__setattr__(self, "period_text", repr(self.period))


class Level(NamedTuple):
    """What was used, and when that was true (seconds since the epoch)."""

    used: float
    at: float


EMPTY = Level(0.0, 0.0)


class Decision(NamedTuple):
    """`remaining` is what is left afterwards, `reset` the seconds until all of it is, `retry_after` those until the cost would fit:
    0 when it does now, infinite when it is above the limit itself.
    """

    admitted: bool
    level: Level
    remaining: int
    reset: float
    retry_after: float


def refilled(rate: Rate, level: Level, now: float) -> Level:
    """`level` as it stands at `now`."""
    if rate.whole:
        now = math.floor(now / rate.period) * rate.period
    used, at = level
    if now > at:
        used -= (now - at) * rate.limit / rate.period
    return Level(used if used > 0 else 0.0, now)


def decide(rate: Rate, level: Level, cost: float, now: float) -> Decision:
    """Whether `cost` fits; the level afterwards has it added only when it does. A cost of 0 always fits, even into a limit of 0."""
    if rate.whole or now != level.at:
        level = refilled(rate, level, now)
    used, limit = level.used, rate.limit
    if cost <= 0 or used + cost <= limit:
        if cost:
            used += cost
            level = Level(used, level.at)
        left = limit - used
        # As `_until` says it, without the call: each request has several of these.
        reset = used * rate.period / limit if limit > 0 and not rate.whole else _until(rate, used, now)
        return Decision(True, level, int(left) if left > 0 else 0, reset, 0.0)
    retry_after = math.inf if cost > limit else _until(rate, used + cost - limit, now)
    return Decision(False, level, max(0, math.floor(limit - used)), _until(rate, used, now), retry_after)


def changed(rate: Rate, level: Level, change: float, now: float) -> Level:
    """`level` with a reservation settled: what came out dearer is owed, even above the limit; what came out cheaper is given back."""
    level = refilled(rate, level, now)
    return Level(max(0.0, level.used + change), level.at)


def _until(rate: Rate, amount: float, now: float) -> float:
    """Seconds until `amount` has flowed back."""
    if amount <= 0:
        return 0.0
    if rate.limit <= 0:
        return math.inf
    if rate.whole:
        return (math.floor(now / rate.period) + max(1, math.ceil(amount / rate.limit))) * rate.period - now
    return amount * rate.period / rate.limit
