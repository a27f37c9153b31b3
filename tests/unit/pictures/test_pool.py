"""Pixel work is admitted by pixels, first come first served, and what was cancelled counts until its thread is done."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable

import pytest

from sightline.pictures.pool import Pool


class Gate:
    """Work that says when it has begun, and goes on when it is told to."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()

    def work(self) -> str:
        self.begun.set()
        assert self.go.wait(10)
        return "done"

    async def began(self) -> None:
        assert await asyncio.to_thread(self.begun.wait, 10)


@pytest.fixture
async def pool() -> AsyncIterator[Pool]:
    made = Pool(threads=4, pixels=100)
    yield made
    await made.close()


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_work_is_done(pool: Pool) -> None:
    assert await pool.run(1, lambda: "done") == "done"


async def test_more_pixels_than_allowed_wait(pool: Pool) -> None:
    first, second = Gate(), Gate()
    running = asyncio.create_task(pool.run(60, first.work))
    await first.began()
    waiting = asyncio.create_task(pool.run(60, second.work))
    await settle()
    assert not second.begun.is_set()
    first.go.set()
    second.go.set()
    assert list(await asyncio.gather(running, waiting)) == ["done", "done"]


async def test_a_small_one_does_not_overtake_a_large_one(pool: Pool) -> None:
    """Else large pictures would starve."""
    gate, order = Gate(), []
    running = asyncio.create_task(pool.run(60, gate.work))
    await gate.began()
    large = asyncio.create_task(pool.run(90, lambda: order.append("large")))
    await settle()
    small = asyncio.create_task(pool.run(10, lambda: order.append("small")))
    await settle()
    assert order == []
    gate.go.set()
    await asyncio.gather(running, large, small)
    assert order == ["large", "small"]


async def test_one_larger_than_everything_is_let_in_alone(pool: Pool) -> None:
    assert await pool.run(10**9, lambda: "done") == "done"
    assert await pool.run(100, lambda: "again") == "again"


async def test_a_cancelled_thread_keeps_its_pixels_until_it_is_done(pool: Pool) -> None:
    first, second = Gate(), Gate()
    running = asyncio.create_task(pool.run(100, first.work))
    await first.began()
    waiting = asyncio.create_task(pool.run(1, second.work))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await settle()
    assert not second.begun.is_set()
    first.go.set()
    second.go.set()
    assert await waiting == "done"


async def test_one_that_stops_waiting_lets_the_next_in(pool: Pool) -> None:
    gate = Gate()
    running = asyncio.create_task(pool.run(60, gate.work))
    await gate.began()
    large = asyncio.create_task(pool.run(90, lambda: "large"))
    await settle()
    small = asyncio.create_task(pool.run(30, lambda: "small"))
    await settle()
    large.cancel()
    assert await small == "small"
    gate.go.set()
    await running


@pytest.mark.parametrize("work", [lambda: 1 // 0], ids=["division"])
async def test_work_that_fails_gives_back(pool: Pool, work: Callable[[], int]) -> None:
    for _ in range(5):
        with pytest.raises(ZeroDivisionError):
            await pool.run(100, work)


async def test_cancelled_in_the_moment_of_admission(pool: Pool) -> None:
    """What had been granted goes on to the next."""
    gate = Gate()
    running = asyncio.create_task(pool.run(100, gate.work))
    await gate.began()
    waiting = asyncio.create_task(pool.run(100, lambda: "unlucky"))
    await settle()
    gate.go.set()
    await running
    waiting.cancel()
    assert await pool.run(100, lambda: "next") == "next"
