"""What one connection to Redis writes, and when."""

import asyncio
from typing import Any

import pytest

from sightline.store.connection import Connection


class Transport:
    """Notes what is written, a write an item."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes) -> None:
        self.writes.append(data)

    def abort(self) -> None: ...


async def test_what_is_asked_in_one_turn_leaves_in_one_write_in_its_order() -> None:
    loop = asyncio.get_running_loop()
    connection, transport = Connection(loop), Transport()
    to_redis: Any = transport
    connection.connection_made(to_redis)
    deadline = loop.time() + 60

    first = connection.call([("GET", "a")], deadline)
    connection.post(("SET", "b", "1"), deadline, lambda error: None)
    second = connection.call([("GET", "b")], deadline)
    assert transport.writes == []
    await asyncio.sleep(0)

    [written] = transport.writes
    assert written.count(b"GET") == 2
    assert written.index(b"$1\r\na") < written.index(b"SET") < written.rindex(b"GET")
    connection.data_received(b"$1\r\n0\r\n+OK\r\n$1\r\n1\r\n")
    assert [await first, await second] == [[b"0"], [b"1"]]
    connection.close()


async def test_a_call_that_cannot_be_packed_leaves_nothing_behind() -> None:
    """Else its first command's reply would be taken for that of the next call."""
    loop = asyncio.get_running_loop()
    connection, transport = Connection(loop), Transport()
    to_redis: Any = transport
    connection.connection_made(to_redis)

    with pytest.raises(UnicodeEncodeError):
        connection.call([("GET", "a"), ("GET", "\ud800")], loop.time() + 60)
    connection.call([("GET", "b")], loop.time() + 60)
    await asyncio.sleep(0)

    assert transport.writes == [b"*2\r\n$3\r\nGET\r\n$1\r\nb\r\n"]
