"""An exchange ends once, whenever its connection does."""

import asyncio
from typing import Any, cast

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from sightline.deadline import Deadline
from sightline.http.exchange import Bodies, Exchange
from sightline.http.heads import Head
from sightline.http.middleware import Lifecycle
from sightline.settings import Requests
from sightline.telemetry.metrics import Metrics


class App:
    """Answers when it is told to, and notes how each exchange ended."""

    def __init__(self) -> None:
        self.bodies = Bodies(Requests(), 30, Metrics())
        self.told: list[str] = []
        self.go_on = asyncio.Event()

    def arrive(self, exchange: Exchange) -> None:
        self.told.append("arrived")

    async def answer(self, exchange: Exchange) -> None:
        try:
            await self.go_on.wait()
            self.told.append("answered")
        except asyncio.CancelledError:
            self.told.append("left while it was answered")

    def refuse(self, exchange: Exchange, error: Exception) -> None:
        self.told.append("refused")

    def leave(self, exchange: Exchange) -> None:
        self.told.append("left")


class Wire:
    def __init__(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.tasks: set[asyncio.Task[None]] = set()
        self.transport = cast("asyncio.Transport", None)  # nothing is sent here
        self.deadline = Deadline(lambda: None)
        self.lifecycle = Lifecycle()
        self.flow = FlowControl(self.transport)

    def default_lines(self) -> bytes:
        return b""

    def on_response_complete(self) -> None: ...


@pytest.mark.parametrize(
    ("whole", "turns", "told"),
    [
        (False, 0, ["arrived", "left"]),
        (True, 0, ["arrived", "left"]),  # its task is there, but has not run yet
        (True, 2, ["arrived", "left while it was answered"]),
    ],
    ids=["before its body is whole", "before its task has run", "while it is answered"],
)
async def test_a_connection_that_ends(whole: bool, turns: int, told: list[str]) -> None:
    app, wire = App(), Wire()
    head: Any = Head.of([(b"content-length", b"4")])
    exchange = Exchange(app, wire, head, "127.0.0.1", keep_alive=True)
    exchange.begin()
    exchange.take(b"body"[: 4 if whole else 2])
    if whole:
        exchange.end()
    for _ in range(turns):
        await asyncio.sleep(0)

    exchange.lose()
    for _ in range(3):
        await asyncio.sleep(0)

    assert app.told == told
    assert wire.tasks == set()
    assert app.bodies._held == 0
