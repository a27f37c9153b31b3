"""Streams as tests want to read them: a batch at a time, or all of it."""

import asyncio

from sightline.wire.reply import Batch, Pause, Stream
from sightline.wire.sse import payloads


class Reader:
    """A client that takes one batch at a time, and makes the stream wait in between."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._batches: asyncio.Queue[Batch | None] = asyncio.Queue()
        self._wanted = asyncio.Event()
        self._pouring: asyncio.Task[None] | None = None

    async def read(self) -> list[bytes]:
        """The chunks of the next batch, or none at the end; raises what ended the stream otherwise."""
        self._wanted.set()
        if self._pouring is None:
            self._pouring = asyncio.create_task(self._stream.pour(self._take))
            self._pouring.add_done_callback(lambda _: self._batches.put_nowait(None))
        batch = await self._batches.get()
        if batch is None:
            self._pouring.result()
            return []
        return payloads(batch.events)

    async def rest(self) -> list[bytes]:
        """All that is left."""
        found: list[bytes] = []
        while chunks := await self.read():
            found += chunks
        return found

    async def leave(self) -> None:
        """As a client that goes: its task is cancelled, and the stream closed."""
        if self._pouring is not None:
            self._pouring.cancel()
            await asyncio.wait([self._pouring])
        await self._stream.aclose()

    def _take(self, batch: Batch) -> Pause | None:
        self._batches.put_nowait(batch)
        self._wanted.clear()
        return self._until_wanted

    async def _until_wanted(self) -> None:
        await self._wanted.wait()


async def chunks_of(stream: Stream) -> list[bytes]:
    """All of it, as fast as it comes."""
    found: list[bytes] = []

    def take(batch: Batch) -> None:
        found.extend(payloads(batch.events))

    await stream.pour(take)
    return found
