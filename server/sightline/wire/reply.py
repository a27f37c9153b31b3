"""An answer on its way: whole, or as a stream of events. Everything that hands answers on speaks these two words.

A `Whole` is a chat completion as JSON. A `Stream` is poured: batches of server-sent events go from hand to hand as they come, from the
engine's connection to the client's within one callback of the network, so that no task wakes for a token. Its normal end means that the
answer is complete and `[DONE]` was seen. Whatever else happens to an answer is a SightlineError. `[DONE]` itself is never an event:
whoever renders the stream writes it.
"""

from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)  # what msgspec raises for bytes that are not what they should be


class Batch(msgspec.Struct, frozen=True, gc=False):
    """Server-sent events that came together, in the frames in which they leave.

    `events` are all of them, `deltas` those without the usage's chunk, which only clients that asked for it get
    (stream_options.include_usage): the same object where there is none. `usage` is that chunk's JSON, without a frame.
    """

    events: bytes
    deltas: bytes
    usage: bytes = b""


class Whole(msgspec.Struct, frozen=True):
    """A chat completion: `body` is its JSON, byte for byte as the engine sent it or as it was folded."""

    body: bytes


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
    """A stream that is all there already, in one batch."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    async def pour(self, into: Sink) -> None:
        await hand(self._batch, into)

    async def aclose(self) -> None: ...


Reply = Whole | Stream
