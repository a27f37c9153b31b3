"""An answer on its way: whole, or as a stream of events. Everything that hands answers on speaks these two words.

A `Whole` is a chat completion as JSON. A `Stream` yields batches of server-sent events as they come; its normal end (StopAsyncIteration)
means that the answer is complete and `[DONE]` was seen. Whatever else happens to an answer is a SightlineError raised from `__anext__`.
`[DONE]` itself is never an event: whoever renders the stream writes it.
"""

from enum import Enum
from typing import NamedTuple, Protocol, Self

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


class Stream(Protocol):
    """An open streamed answer. Who opened it closes it; `aclose` may be called twice, and ends the engine's work if any is left."""

    def __aiter__(self) -> Self: ...
    async def __anext__(self) -> tuple[Event, ...]: ...
    async def aclose(self) -> None: ...


class Told:
    """A stream that is all there already: its events in one batch."""

    def __init__(self, events: tuple[Event, ...]) -> None:
        self._events = events

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Event, ...]:
        events, self._events = self._events, ()
        if not events:
            raise StopAsyncIteration
        return events

    async def aclose(self) -> None:
        self._events = ()


Reply = Whole | Stream
