"""The log of one engine call: written by the call's task, read by index by everybody who follows it, each at their own pace.

It is bounded by `log_bytes`. Once it would hold more, its start is let go and nobody can follow any more who has not begun; the engine is
read only as fast as the fastest reader reads, and a reader who falls further behind than the log reaches fails. Slow readers so neither
slow the others nor cost more memory than this. The answer goes on being folded, up to `keep_bytes`.
"""

import asyncio
from dataclasses import dataclass

from sightline.errors import EngineError
from sightline.wire.folding import Fold
from sightline.wire.reply import Event, Stream

_EVENT_BYTES = 160  # what an event costs beside its bytes: the tuple, the bytes object, its place in the log


@dataclass(eq=False, slots=True)
class Place:
    """Where a reader is: the index of the batch it wants next; None for one who only wants the whole answer."""

    position: int | None


class Flight:
    def __init__(self, key: str | None, *, stream: bool, log_bytes: int, keep_bytes: int) -> None:
        self.key = key
        self.stream = stream  # the mode in which the engine is asked
        self.task: asyncio.Task[None] | None = None
        self.places: set[Place] = set()
        self.completion: bytes | None = None  # the whole answer, where it can be told
        self.error: BaseException | None = None
        self.ended = False  # landed or failed: nothing more will come
        self.borrowed = False  # another gateway's call answered
        self._log: list[tuple[Event, ...]] = []
        self._first = 0  # index of the log's first batch
        self._size = 0
        self._log_bytes = log_bytes
        self._keep_bytes = keep_bytes
        self._fold: Fold | None = Fold()
        self._waiting: list[asyncio.Future[None]] = []
        self._wish = asyncio.Event()

    @property
    def begun(self) -> bool:
        """Whether events have come."""
        return self._end > 0

    @property
    def answered(self) -> bool:
        """Whether the engine has said all there is."""
        return self.ended and self.error is None

    @property
    def can_be_boarded(self) -> bool:
        return self._first == 0 and self._size <= self._log_bytes

    @property
    def _end(self) -> int:
        return self._first + len(self._log)

    async def batch(self, index: int) -> tuple[Event, ...] | None:
        """The batch at `index`, or None after the last of a complete answer; raises what the flight failed with."""
        while index >= self._end:
            if self.error is not None:
                raise self.error.with_traceback(None)
            if self.ended:
                return None
            await self._change()
        if index < self._first:
            raise EngineError("The answer was read too slowly to be followed.", should_retry=False)
        return self._log[index - self._first]

    async def whole(self) -> bytes | None:
        """The completion once all is over, or None where it cannot be told exactly; raises what the flight failed with."""
        while not self.ended:
            await self._change()
        if self.error is not None:
            raise self.error.with_traceback(None)
        return self.completion

    async def read(self, stream: Stream) -> None:
        """Logs `stream` to its end, and closes it."""
        try:
            async for events in stream:
                self._append(events)
                if self._size > self._log_bytes:
                    await self._make_room()
        finally:
            await stream.aclose()
        self.completion = self._fold.finish() if self._fold is not None else None

    def end(self, error: BaseException | None = None) -> None:
        """Tells everybody that nothing more will come; the first call counts."""
        if not self.ended:
            self.error, self.ended = error, True
            self._wake()

    def _append(self, events: tuple[Event, ...]) -> None:
        if self._fold is not None:
            self._fold.add(events)
            if self._fold.size > self._keep_bytes:
                self._fold = None
        self._log.append(events)
        self._size += _cost(events)
        self._wake()

    async def _make_room(self) -> None:
        """Waits until somebody has read all there is (or wants the whole), then lets the log's start go."""
        while not any(place.position is None or place.position >= self._end for place in self.places):
            self._wish.clear()
            await self._wish.wait()
        count = 0
        while self._size > self._log_bytes and count < len(self._log):
            self._size -= _cost(self._log[count])
            count += 1
        del self._log[:count]
        self._first += count

    async def _change(self) -> None:
        """Waits until something has come. Each waiter has a future of its own, so that cancelling one leaves the others be."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wish.set()
        await waiter

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)


def _cost(events: tuple[Event, ...]) -> int:
    return sum([len(event.data) + _EVENT_BYTES for event in events])
