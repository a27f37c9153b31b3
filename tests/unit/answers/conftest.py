from collections.abc import AsyncIterator
from math import inf

import pytest
from tests.unit.answers.rig import Engine, Landing

from sightline.answers.flights import Flights, Ride


class Airport:
    """Flights whose calls go to one scripted engine and whose landings are noted."""

    def __init__(self, *, log_bytes: int = 4000, keep_bytes: int = 4000) -> None:
        self.engine = Engine()
        self.landing = Landing()
        self.now = 0.0
        self.flights = Flights(log_bytes=log_bytes, keep_bytes=keep_bytes, longest_look=1.0, clock=lambda: self.now)

    def board(self, mode: str, key: str | None = "question", looked: float = inf) -> Ride:
        stream = mode == "stream"
        return self.flights.board(key, stream=stream, call=self.engine.call(stream=stream), landed=self.landing, looked=looked)


@pytest.fixture
async def airport() -> AsyncIterator[Airport]:
    port = Airport()
    yield port
    for asked in port.engine.asked:
        asked.may_close.set()
    await port.flights.close()
