"""Who gets a place at the engines, who waits for one, who is sent away; and that no place is ever lost."""

import asyncio

import pytest
from tests.fakes.virtual_time import run

from sightline.errors import Unavailable
from sightline.limits.admission import Admission, Crowd, Place
from sightline.limits.keyfile import Priority
from sightline.settings import Limits


def admission(**settings: float | None) -> Admission:
    return Admission(Limits.model_validate(settings), asyncio.get_running_loop().time)


def queue(door: Admission, priority: Priority = "normal") -> "asyncio.Task[Place]":
    return asyncio.create_task(door.enter(priority))


async def settled() -> None:
    """Every task has gone as far as it can without time passing."""
    for _ in range(5):
        await asyncio.sleep(0)


def test_without_limits_everybody_enters() -> None:
    async def story() -> None:
        door = admission()
        for _ in range(2000):
            await door.enter()
        assert door.in_flight == 2000

    run(story())


def test_a_place_is_waited_for_in_order_of_class_then_of_arrival() -> None:
    async def story() -> None:
        door = admission(engine_requests=1)
        entered: list[str] = []

        async def come(name: str, priority: Priority) -> None:
            place = await door.enter(priority)
            entered.append(name)
            place.leave()

        first = await door.enter()
        names: list[tuple[str, Priority]] = [("low", "low"), ("normal 1", "normal"), ("normal 2", "normal"), ("high", "high")]
        coming = [asyncio.create_task(come(name, priority)) for name, priority in names]
        await settled()
        first.leave()
        await asyncio.gather(*coming)

        assert entered == ["high", "normal 1", "normal 2", "low"]
        assert (door.in_flight, door.waiting) == (0, 0)

    run(story())


def test_whoever_waits_too_long_is_refused_with_a_wait() -> None:
    async def story() -> None:
        door = admission(engine_requests=1, queue_seconds=0.5)
        await door.enter()
        began = asyncio.get_running_loop().time()

        with pytest.raises(Unavailable) as refusal:
            await door.enter()

        assert asyncio.get_running_loop().time() - began == pytest.approx(0.5)
        assert (refusal.value.status, refusal.value.code, refusal.value.retry_after) == (503, "overloaded", 1.0)
        assert door.waiting == 0

    run(story())


def test_a_full_queue_refuses_at_once() -> None:
    async def story() -> None:
        door = admission(engine_requests=1, queue=1)
        await door.enter()
        waiting = queue(door)
        await settled()

        with pytest.raises(Unavailable):
            await door.enter()
        assert asyncio.get_running_loop().time() == 0
        waiting.cancel()
        await asyncio.wait([waiting])

    run(story())


def test_in_a_full_queue_a_higher_class_takes_the_place_of_the_last_of_a_lower_one() -> None:
    async def story() -> None:
        door = admission(engine_requests=1, queue=2)
        first = await door.enter()
        low, normal = queue(door, "low"), queue(door, "normal")
        await settled()

        high = queue(door, "high")
        await settled()
        first.leave()

        with pytest.raises(Unavailable):
            await low
        (await high).leave()
        (await normal).leave()
        assert (door.in_flight, door.waiting) == (0, 0)

    run(story())


def test_with_a_known_pace_a_wait_that_would_be_too_long_is_refused_at_once() -> None:
    async def story() -> None:
        door = admission(engine_requests=1, queue_seconds=2.5)
        for _ in range(4):
            place = await door.enter()
            await asyncio.sleep(1)
            place.leave()
        await door.enter()
        coming = [queue(door) for _ in range(2)]
        await settled()
        now = asyncio.get_running_loop().time()

        with pytest.raises(Unavailable) as refusal:
            await door.enter()

        assert asyncio.get_running_loop().time() == now
        assert refusal.value.retry_after == pytest.approx(3.0)
        for task in coming:
            task.cancel()
        await asyncio.wait(coming)

    run(story())


@pytest.mark.parametrize("moment", ["while it waits", "as it is admitted"])
def test_a_client_who_leaves_the_queue_leaves_no_place_behind(moment: str) -> None:
    async def story() -> None:
        door = admission(engine_requests=1)
        first = await door.enter()
        gone, next_one = queue(door), queue(door)
        await settled()

        if moment == "as it is admitted":
            first.leave()
            gone.cancel()
        else:
            gone.cancel()
            first.leave()
        await asyncio.wait([gone])

        assert gone.cancelled()
        (await next_one).leave()
        assert (door.in_flight, door.waiting) == (0, 0)

    run(story())


def test_a_place_is_given_back_only_once() -> None:
    async def story() -> None:
        door = admission(engine_requests=2)
        one, _ = await door.enter(), await door.enter()
        one.leave()
        one.leave()
        assert door.in_flight == 1

    run(story())


@pytest.mark.parametrize(("within", "admitted"), [(3, True), (4, False), (9, False)])
def test_a_long_queue_within_the_engines_refuses_newcomers(within: int, admitted: bool) -> None:
    async def story() -> None:
        door = admission(engine_queue=4)
        door.engines_waiting = within
        if admitted:
            await door.enter()
        else:
            with pytest.raises(Unavailable):
                await door.enter()

    run(story())


def test_a_crowd_has_room_for_so_many() -> None:
    """Who was refused is not counted, and a place given back can be had again."""
    crowd = Crowd(1)
    crowd.enter()
    with pytest.raises(Unavailable):
        crowd.enter()
    crowd.leave()
    crowd.enter()
    assert crowd.size == 1
