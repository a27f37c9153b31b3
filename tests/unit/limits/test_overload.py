"""An adaptive limit keeps the engines busy and their answers quick, whatever they can do. Minutes of load, in made-up time."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest
from tests.fakes.virtual_time import run

from sightline.errors import Unavailable
from sightline.limits.admission import Admission
from sightline.settings import Limits

MINUTE = 60.0
JITTER = 0.1  # of an answer's time; an unloaded engine's 99th percentile is that much above its mean


@dataclass
class Outcome:
    answered: list[tuple[float, float]] = field(default_factory=list)  # when it ended, how long it took
    refused: list[float] = field(default_factory=list)  # how long it took to be told
    limits: list[tuple[float, float]] = field(default_factory=list)  # when, the limit then

    def slow(self, since: float = 0) -> float:
        """99 % of the answers that ended `since` took less."""
        times = sorted(took for ended, took in self.answered if ended > since)
        return times[int(0.99 * len(times))]


async def load(places: int, seconds: Callable[[float], float], rate: float, duration: float) -> Outcome:
    """Requests at `rate` a second, come what may, upon an engine that answers `places` at once and lets the others wait."""
    now = asyncio.get_running_loop().time
    chance = random.Random(1)
    door = Admission(Limits(adaptive=True), now)
    engine = asyncio.Semaphore(places)
    outcome = Outcome()

    async def request() -> None:
        came = now()
        try:
            place = await door.enter()
        except Unavailable:
            outcome.refused.append(now() - came)
            return
        async with engine:
            await asyncio.sleep(seconds(now()) * chance.uniform(1 - JITTER, 1 + JITTER))
        place.leave()
        outcome.answered.append((now(), now() - came))

    async with asyncio.TaskGroup() as requests:
        while now() < duration:
            requests.create_task(request())
            outcome.limits.append((now(), door.limit))
            await asyncio.sleep(chance.expovariate(rate))
    assert (door.in_flight, door.waiting) == (0, 0)
    return outcome


@pytest.mark.parametrize(("places", "seconds"), [(4, 0.12), (8, 0.1), (32, 0.5), (16, 1.0)])
def test_four_times_the_capacity_for_a_minute(places: int, seconds: float) -> None:
    """Goodput ≥ 90 % of peak, refusals in ≤ 50 ms; accepted answers ≤ 2 × unloaded once the limit has been found."""
    capacity = places / seconds

    outcome = run(load(places, lambda _: seconds, 4 * capacity, MINUTE))

    assert sum(ended <= MINUTE for ended, _ in outcome.answered) >= 0.9 * capacity * MINUTE
    assert max(outcome.refused) <= 0.0501
    assert outcome.slow(since=10) <= 2 * seconds * (1 + JITTER)


def test_an_engine_that_is_slow_for_a_while_gets_fewer_requests_then_more_again() -> None:
    """1 s → 5 s → 1 s an answer: within 30 s of each step the limit fits again, and never collapses."""

    def seconds(now: float) -> float:
        return 5.0 if 60 <= now < 120 else 1.0

    outcome = run(load(16, seconds, 32, 180))

    def limits(begin: float, end: float) -> list[float]:
        return [limit for when, limit in outcome.limits if begin <= when < end]

    assert all(16 * 0.7 <= limit <= 16 * 2 for begin, end in ((30, 60), (90, 120), (150, 180)) for limit in limits(begin, end))
    assert min(limits(60, 180)) >= 4


def test_below_capacity_nobody_is_refused() -> None:
    outcome = run(load(16, lambda _: 0.5, 16, MINUTE))

    assert outcome.refused == []


def test_engines_that_fail_get_fewer_requests() -> None:
    async def story() -> None:
        now = asyncio.get_running_loop().time
        door = Admission(Limits(adaptive=True), now)
        for failed in (False, True):
            before = door.limit
            for _ in range(10):
                places = [await door.enter() for _ in range(int(door.limit))]
                await asyncio.sleep(0.1)
                for place in places:
                    place.leave(failed=failed)
            assert (door.limit < before) is failed

    run(story())


def test_a_client_who_left_says_nothing_about_the_engine() -> None:
    async def story() -> None:
        door = Admission(Limits(adaptive=True), asyncio.get_running_loop().time)
        for seconds in (0.1, 30.0):
            for _ in range(5):
                places = [await door.enter() for _ in range(8)]
                await asyncio.sleep(seconds)
                for place in places:
                    place.leave(counts=seconds < 1)
        assert door.limit > 8

    run(story())
