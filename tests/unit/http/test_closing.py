"""A connection that is to be closed is closed, even by somebody who does not read the little that is unsent."""

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import uvloop
from uvicorn.server import ServerState

from sightline.http.connections import Connections
from sightline.http.middleware import Lifecycle
from sightline.http.protocol import protocol
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics


async def closed_after(unsent: int) -> int:
    """How many bytes were unsent when the connection was closed; returns once it has ended."""
    settings = Settings.model_validate({"timeouts": {"client": 0.05}})
    ended = asyncio.Event()
    made: Any = protocol(cast("Any", SimpleNamespace()), Lifecycle(), settings, Connections(None, (), Metrics()))

    class Told(made):  # type: ignore[misc]  # made a moment ago
        def connection_lost(self, exc: Exception | None) -> None:
            super().connection_lost(exc)
            ended.set()

    config: Any = SimpleNamespace(timeout_keep_alive=60, loaded_app=None)
    state = ServerState()
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        filled = 0
        try:
            while True:
                filled += ours.send(b"x" * 4096)
        except BlockingIOError:
            pass
        loop = asyncio.get_running_loop()
        transport, connection = await loop.connect_accepted_socket(lambda: Told(config, state, {}, loop), ours)
        transport.write(b"x" * unsent)
        await asyncio.sleep(0)
        left = transport.get_write_buffer_size()
        connection.shutdown()
        async with asyncio.timeout(10):
            await ended.wait()
        return left


def test_what_is_below_the_high_water_mark_does_not_keep_it_open() -> None:
    assert uvloop.run(closed_after(1000)) == 1000
