"""The log of one engine call: written as the engine says it, read by index by everybody who follows it, each at their own pace.

Who has read all there is follows live: what comes is handed to them as it is written, within the network's own callback.

It is bounded by `log_bytes`. Once it would hold more, its start is let go and nobody can follow any more who has not begun; the engine is
read only as fast as the fastest reader reads, and a reader who falls further behind than the log reaches fails. Slow readers so neither
slow the others nor cost more memory than this. The answer goes on being folded, up to `keep_bytes`, a few dozen batches at a time: one
by one, each would find the processor's caches cold, and cost three times as much (measured).
"""

import asyncio
from dataclasses import dataclass

from sightline.errors import EngineError
from sightline.wire.folding import Fold
from sightline.wire.reply import Batch, Pause, Sink, Stream, hand
from sightline.wire.sse import payloads

_FOLDED = 64  # batches folded at once
_BATCH_BYTES = 120  # what a batch costs beside its bytes: two objects, and their place in the log


@dataclass(eq=False, slots=True)
class Place:
    """Where a reader is: the index of the batch it wants next; None for one who only wants the whole answer."""

    position: int | None


@dataclass(eq=False, slots=True)
class _Live:
    """A reader who has read all there is. `over` says that this has ended, with what is to be waited for before more, if anything."""

    place: Place
    into: Sink
    over: asyncio.Future[Pause | None]


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
        self._log: list[Batch] = []
        self._first = 0  # index of the log's first batch
        self._size = 0
        self._log_bytes = log_bytes
        self._keep_bytes = keep_bytes
        self._fold: Fold | None = Fold() if stream else None
        self._folded = 0  # batches that are in it
        self._live: list[_Live] = []
        self._waiting: list[asyncio.Future[None]] = []  # for the first of it, or the end
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
    def held(self) -> int:
        """Bytes of the answer that it holds."""
        return self._size + len(self.completion or b"")

    @property
    def can_be_boarded(self) -> bool:
        return self._first == 0 and self._size <= self._log_bytes

    @property
    def _end(self) -> int:
        return self._first + len(self._log)

    async def first(self) -> None:
        """Waits until events have come, or the end; raises what the flight failed with before that."""
        while not self.begun:
            if self.error is not None:
                raise self.error.with_traceback(None)
            if self.ended:
                return
            await self._change()

    async def follow(self, place: Place, into: Sink) -> None:
        """Gives `into` every batch from `place` on, to the end of a complete answer; raises what the flight failed with."""
        position = place.position or 0
        while True:
            while position < self._end:
                if position < self._first:
                    raise EngineError("The answer was read too slowly to be followed.", should_retry=False)
                batch = self._log[position - self._first]
                place.position = position = position + 1
                await hand(batch, into)
            if self.error is not None:
                raise self.error.with_traceback(None)
            if self.ended:
                return
            position = await self._follow_live(place, into)

    async def _follow_live(self, place: Place, into: Sink) -> int:
        """Until the end, or until `into` asks to be waited for; where the reader is then."""
        live = _Live(place, into, asyncio.get_running_loop().create_future())
        self._live.append(live)
        self._wish.set()
        try:
            wait = await live.over
        finally:
            self._live.remove(live)
        if wait is not None:
            await wait()
        return place.position or 0

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
            await stream.pour(self._append)
        finally:
            await stream.aclose()
        self._fold_more()
        self.completion = self._fold.finish() if self._fold is not None else None

    def end(self, error: BaseException | None = None) -> None:
        """Tells everybody that nothing more will come; the first call counts."""
        if not self.ended:
            self.error, self.ended = error, True
            for reader in self._live:
                if not reader.over.done():
                    reader.over.set_result(None)
            self._wake()

    def _append(self, batch: Batch) -> Pause | None:
        self._log.append(batch)
        self._size += len(batch.events) + _BATCH_BYTES
        end = self._first + len(self._log)
        for reader in self._live:
            if reader.over.done():  # it has ended, and has not yet been told
                continue
            reader.place.position = end
            try:
                if (wait := reader.into(batch)) is not None:
                    reader.over.set_result(wait)
            except Exception as error:  # noqa: BLE001  it is this reader's to raise, and nobody else's
                reader.over.set_exception(error)
        if end == 1:
            self._wake()
        if end - self._folded >= _FOLDED:
            self._fold_more()
        return self._wait_for_room if self._size > self._log_bytes and not self._make_room() else None

    def _fold_more(self) -> None:
        """Folds what has come since the last time."""
        fresh = self._log[self._folded - self._first :]
        self._folded += len(fresh)
        if self._fold is not None:
            self._fold.add(payloads(b"".join([batch.events for batch in fresh])))
            if self._fold.size > self._keep_bytes:
                self._fold = None

    def _make_room(self) -> bool:
        """Lets the log's start go where somebody has read all there is, or wants the whole; whether there is one."""
        if not any(place.position is None or place.position >= self._end for place in self.places):
            return False
        self._fold_more()
        count = 0
        while self._size > self._log_bytes and count < len(self._log):
            self._size -= len(self._log[count].events) + _BATCH_BYTES
            count += 1
        del self._log[:count]
        self._first += count
        return True

    async def _wait_for_room(self) -> None:
        while not self._make_room():
            self._wish.clear()
            await self._wish.wait()

    async def _change(self) -> None:
        """Waits for the first of it, or the end. Each waiter has a future of its own, so that cancelling one leaves the others be."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        self._wish.set()
        await waiter

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)
