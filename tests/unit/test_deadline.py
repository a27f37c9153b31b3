"""A deadline fires once, when its last move is overdue, and not before."""

import asyncio

from sightline.deadline import Deadline


async def test_it_fires_once_when_nothing_moves_it() -> None:
    looked = asyncio.Event()
    fired: list[float] = []
    loop = asyncio.get_running_loop()
    deadline = Deadline(lambda: fired.append(loop.time()))
    deadline.move(0.01)
    loop.call_later(0.05, looked.set)
    await looked.wait()
    assert len(fired) == 1


async def test_a_later_move_outlives_the_first_timer() -> None:
    """Both timers are in the loop; the deadline's first look comes before the marker's, and finds that it was moved on."""
    fired, looked = asyncio.Event(), asyncio.Event()
    deadline = Deadline(fired.set)
    deadline.move(0.01)
    deadline.move(60)
    asyncio.get_running_loop().call_later(0.05, looked.set)
    await looked.wait()
    assert not fired.is_set()
    deadline.stop()


async def test_an_earlier_move_is_kept_too() -> None:
    fired = asyncio.Event()
    deadline = Deadline(fired.set)
    deadline.move(60)
    deadline.move(0.01)
    await asyncio.sleep(0)
    assert not fired.is_set()
    await asyncio.wait_for(fired.wait(), 5)


async def test_a_pause_lasts_until_the_next_move() -> None:
    fired, looked = asyncio.Event(), asyncio.Event()
    deadline = Deadline(fired.set)
    deadline.move(0.01)
    deadline.pause()
    asyncio.get_running_loop().call_later(0.05, looked.set)
    await looked.wait()
    assert not fired.is_set()
    deadline.move(0.01)
    await asyncio.wait_for(fired.wait(), 5)


async def test_stopped_it_never_fires() -> None:
    fired, looked = asyncio.Event(), asyncio.Event()
    deadline = Deadline(fired.set)
    deadline.move(0.01)
    deadline.stop()
    asyncio.get_running_loop().call_later(0.05, looked.set)
    await looked.wait()
    assert not fired.is_set()
