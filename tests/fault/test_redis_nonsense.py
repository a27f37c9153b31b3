"""What listens where Redis should be is no Redis, or one gone mad: StoreError within the limit, no value made of noise."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from tests.fakes.redis_server import RedisServer
from tests.fakes.redis_store import LIMIT, Rehearsal
from tests.fakes.until import until

from sightline.breaker import State
from sightline.store.base import StoreError

GREETED = b"+OK\r\n"  # the answer to CLIENT SETNAME

SAYINGS = {
    "nothing": b"",
    "garbage": b"\x00\xff garbage \r\n" * 100,
    "a web server": b"HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n<html>",
    "an error before it was asked": b"-ERR max number of clients reached\r\n",
    "greeting, then garbage": GREETED + b"%%%\r\n",
    "half a value": GREETED + b"$1000\r\nhalf",
    "a value without end": GREETED + b"$536870912\r\n" + b"x" * 2**20,
    "an array that does not end": GREETED + b"*1000000\r\n" + b"*1\r\n" * 1000,
    "nested too deep": GREETED + b"*1\r\n" * 10_000,
    "a negative length": GREETED + b"$-7\r\n",
    "an error without a code": GREETED + b"-\r\n",
}


def saying(text: bytes, *, hang_up: bool) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(text)
        try:
            while not hang_up and await reader.read(2**16):
                pass
        except OSError:
            pass
        finally:
            writer.close()

    return talk


@pytest.mark.parametrize("hang_up", [False, True], ids=["stays", "hangs up"])
@pytest.mark.parametrize("words", SAYINGS)
async def test_noise_is_a_store_error(tmp_path: Path, words: str, hang_up: bool) -> None:
    """Each look-up ends in StoreError, none later than the limit; a real Redis in its place is found again."""
    noise = await asyncio.start_server(saying(SAYINGS[words], hang_up=hang_up), "127.0.0.1", 0)
    port: int = noise.sockets[0].getsockname()[1]
    rehearsal = Rehearsal(port)
    began = time.monotonic()
    for _ in range(3):
        with pytest.raises(StoreError):
            await rehearsal.store.get(["a"])
    assert time.monotonic() - began < 3 * LIMIT + 1
    if words != "an error without a code":  # that one is an answer, if an odd one
        assert rehearsal.breaker.state is not State.CLOSED
    noise.close()
    server = RedisServer(tmp_path / "redis", port=port)
    server.start()
    try:
        await until(rehearsal.works)
    finally:
        await rehearsal.store.close()
        server.kill()
