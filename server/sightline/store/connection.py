"""One pipelined connection to one Redis server: what is asked in one turn of the loop leaves in one write, answers come back in order.

Measured beside redis-py with hiredis (loadtests/store/bench.py): a small fraction of its CPU a call. Answers settle futures and run
nobody's code, so a caller that fails or has gone cannot hurt the connection; a late answer is read and dropped.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, cast

import hiredis

Command = tuple[str | bytes | int, ...]
Reply = Any  # bytes, int, None, a list of those, or a hiredis.ReplyError as a value
Failed = Callable[[Exception], object]  # told a ReplyError, TimeoutError or ConnectionEnded

BACKLOG_BYTES = 64 * 2**20  # unsent bytes beyond which more are refused: the server has stopped reading
LINGER = 0.001  # seconds that a command which nobody waits for may stand
_INCOMPLETE = object()


class ConnectionEnded(ConnectionError):
    """The connection is no more; what was asked may or may not have been done."""


class _Batch:
    """The commands of one call: their replies so far, and whom they are for (neither once they have them, so that nothing is held).

    Where nobody waits there is no future, and only a failure is told.
    """

    __slots__ = ("deadline", "expected", "failed", "future", "replies")

    def __init__(self, deadline: float, expected: int, future: asyncio.Future[list[Reply]] | None, failed: Failed | None) -> None:
        self.deadline = deadline
        self.expected = expected
        self.future = future
        self.failed = failed
        self.replies: list[Reply] = []

    @property
    def over(self) -> bool:
        return self.future is None and self.failed is None

    def fail(self, loop: asyncio.AbstractEventLoop, error: Exception) -> None:
        future, self.future = self.future, None
        failed, self.failed = self.failed, None
        if future is not None and not future.done():
            future.set_exception(error)
        if failed is not None:
            loop.call_soon(failed, error)  # not from here: it may end this very connection


class Connection(asyncio.Protocol):
    """Made by `loop.create_connection`. `ended` says that it can no longer be asked."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.ended = False
        self.scripts: set[str] = set()  # digests of those that were sent whole
        self._retired = False
        self._loop = loop
        self._reader = hiredis.Reader(notEnoughData=_INCOMPLETE)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._leaving = False  # what is in `_out` leaves at the end of this turn
        self._waiting: deque[_Batch] = deque()
        self._timed: deque[_Batch] = deque()
        self._timer: asyncio.TimerHandle | None = None

    def call(self, commands: Sequence[Command], deadline: float) -> asyncio.Future[list[Reply]]:
        """The replies to `commands`, in order; fails with TimeoutError at `deadline` (loop time) or ConnectionEnded.

        Deadlines are expected to come in order, as they do when all calls have one limit: one timer serves them all.
        """
        self._require_open()
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        # All of them or, where one cannot be packed, none.
        self._out += [hiredis.pack_command(command) for command in commands]  # type: ignore[arg-type]  # its stub wants a one-tuple
        if not self._leaving:
            self._leaving = True
            self._loop.call_soon(self._flush)
        self._expect(_Batch(deadline, len(commands), future, None))
        return future

    def post(self, command: Command, deadline: float, failed: Failed) -> None:
        """For nobody who waits: it leaves with the next `call`, or a millisecond later; `failed` hears if nothing comes of it."""
        self._require_open()
        if not self._out:
            self._loop.call_later(LINGER, self._flush)
        self._out.append(hiredis.pack_command(command))  # type: ignore[arg-type]  # as above
        self._expect(_Batch(deadline, 1, None, failed))

    def _require_open(self) -> None:
        if self.ended or self._transport is None:
            raise ConnectionEnded("closed")
        if self._transport.get_write_buffer_size() > BACKLOG_BYTES:
            raise ConnectionEnded("backlog")

    def _expect(self, batch: _Batch) -> None:
        self._waiting.append(batch)
        self._timed.append(batch)
        if self._timer is None or batch.deadline < self._timer.when():  # the greeting of a new connection may take longer than others
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(batch.deadline, self._expire)

    def retire(self) -> None:
        """Closes the connection once all that was asked has been answered or has timed out."""
        self._retired = True
        if not self._waiting:
            self.close()

    def close(self) -> None:
        """Ends the connection at once; whoever waits gets ConnectionEnded."""
        if self._transport is not None:
            self._transport.abort()
        self._end()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not _INCOMPLETE:
                if not self._waiting:  # nothing was asked: a refusal ("max number of clients") or no Redis at all
                    self.close()
                    return
                self._settle(reply)
        except hiredis.ProtocolError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._end()

    def _settle(self, reply: Reply) -> None:
        batch = self._waiting[0]
        batch.replies.append(reply)
        if len(batch.replies) == batch.expected:
            self._waiting.popleft()
            if batch.failed is not None and isinstance(reply, hiredis.ReplyError):
                batch.fail(self._loop, reply)
            future, batch.future, batch.failed = batch.future, None, None
            if future is not None and not future.done():  # else it has timed out, or its caller has gone
                future.set_result(batch.replies)
            batch.replies = []
            if self._retired and not self._waiting:
                self.close()

    def _flush(self) -> None:
        """What was asked in one turn of the loop, in one system call: uvloop writes at once, and each write wakes the server."""
        self._leaving = False
        if self._out and not self.ended and self._transport is not None:
            self._transport.write(b"".join(self._out) if len(self._out) > 1 else self._out[0])
        self._out.clear()

    def _expire(self) -> None:
        """Fails what is overdue, and sleeps until the next that is still waiting could be."""
        now = self._loop.time()
        while self._timed and (self._timed[0].over or self._timed[0].deadline <= now):
            self._timed.popleft().fail(self._loop, TimeoutError())
        self._timer = self._loop.call_at(self._timed[0].deadline, self._expire) if self._timed else None
        if self._retired and not self._timed:
            self.close()

    def _end(self) -> None:
        self.ended = True
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._timed.clear()
        for batch in self._waiting:
            batch.fail(self._loop, ConnectionEnded("lost"))
        self._waiting.clear()
