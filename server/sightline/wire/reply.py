"""An answer on its way: whole, or as a stream of events. Everything that hands answers on speaks these two words.

A `Whole` is a chat completion as JSON. A `Stream` is poured: batches of server-sent events go from hand to hand as they come, from the
engine's connection to the client's within one callback of the network, so that no task wakes for a token. Its normal end means that the
answer is complete and `[DONE]` was seen. Whatever else happens to an answer is a SightlineError. `[DONE]` itself is never an event:
whoever renders the stream writes it.
"""

from collections.abc import Awaitable, Callable
from enum import Enum
from typing import NamedTuple, Protocol

import msgspec


class Kind(Enum):
    DELTA = "delta"  # a chunk with choices
    USAGE = "usage"  # the chunk with `choices: []` and the usage, only for clients that asked with stream_options.include_usage


class Event(NamedTuple):
    """One server-sent event: `data` is the chunk's JSON, byte for byte as the engine sent it, without the `data: ` frame."""

    kind: Kind
    data: bytes


class Whole(msgspec.Struct, frozen=True):
    """A chat completion: `body` is its JSON, byte for byte as the engine sent it or as it was folded."""

    body: bytes


Batch = tuple[Event, ...]
Pause = Callable[[], Awaitable[None]]
Sink = Callable[[Batch], Pause | None]
"""Takes a batch, at once; where it returns a pause, that is waited for before it is given another."""


async def hand(batch: Batch, into: Sink) -> None:
    """Gives `into` one batch, and waits where it asks for that."""
    if (wait := into(batch)) is not None:
        await wait()


class Stream(Protocol):
    """An open streamed answer. Who opened it closes it; `aclose` may be called twice, and ends the engine's work if any is left."""

    async def pour(self, into: Sink) -> None:
        """Gives `into` every batch as it comes, until the answer is complete. Raises SightlineError, and what `into` raises."""

    async def aclose(self) -> None: ...


class Told:
    """A stream that is all there already: its events in one batch."""

    def __init__(self, events: Batch) -> None:
        self._events = events

    async def pour(self, into: Sink) -> None:
        events, self._events = self._events, ()
        if events:
            await hand(events, into)

    async def aclose(self) -> None:
        self._events = ()


Reply = Whole | Stream
