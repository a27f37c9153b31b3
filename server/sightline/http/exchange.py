"""One chat request on its connection: its head, its body as it comes, its answer as it leaves.

It stands where uvicorn's request cycle stands for the other routes, without ASGI between it and the wire: three messages, their dicts and
their tasks cost more than all the rest of a kept answer (measured). `protocol.Protocol` feeds it, `chat.Chat` answers it.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from sightline.deadline import Deadline
from sightline.errors import Overloaded, RequestTimeout, RequestTooLarge, SightlineError
from sightline.http.heads import Head
from sightline.http.middleware import Lifecycle
from sightline.settings import Requests
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Record

_SMALL = 4096  # bytes of a piece of a body that is added to the one before it


class Bodies:
    """The bytes of request bodies that this process holds: never more of one than allowed, never more of all than memory has room for."""

    def __init__(self, limits: Requests, patience: float, metrics: Metrics) -> None:
        """`patience`: seconds that a body may stand still."""
        self.most = limits.body_bytes
        self.patience = patience
        self._together = limits.bytes_in_flight
        self._held = 0
        metrics.in_flight_bytes.set_function(lambda: self._held)

    def take(self, size: int) -> None:
        """Raises Overloaded when all requests together would hold too much."""
        if self._held + size > self._together:
            raise Overloaded("Too many large requests are being answered just now. Try again shortly.", reason="bytes")
        self._held += size

    def give(self, size: int) -> None:
        self._held -= size

    def too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The request body is larger than {self.most:,} bytes. Send smaller pictures, or fewer.")


class App(Protocol):
    """Who answers (`chat.Chat`). Each exchange `arrive`s once; if it was not refused, either `answer` or `leave` follows, once."""

    bodies: Bodies

    def arrive(self, exchange: "Exchange") -> None:
        """The head is here. Raises SightlineError to refuse it before its body has come."""
        ...

    def answer(self, exchange: "Exchange") -> Coroutine[Any, Any, None]:
        """The body is here: answers, and never raises but for a cancellation that is not the client's doing."""
        ...

    def refuse(self, exchange: "Exchange", error: SightlineError) -> None:
        """It was refused before it was answered: says so, and counts it."""
        ...

    def leave(self, exchange: "Exchange") -> None:
        """The client has gone before its body was whole."""
        ...


class Wire(Protocol):
    """The connection, as an exchange needs it (`protocol.Protocol`)."""

    loop: asyncio.AbstractEventLoop
    tasks: set[asyncio.Task[None]]
    transport: asyncio.Transport

    deadline: Deadline  # of the body that is awaited on it; calls `stood_still` of the exchange that it was moved for

    @property
    def lifecycle(self) -> Lifecycle: ...

    flow: FlowControl  # whether the client reads what he is sent

    def default_lines(self) -> bytes: ...
    def on_response_complete(self) -> None: ...


class Exchange:
    """`record` and `caller` are set as it arrives."""

    __slots__ = (
        "_answering",
        "_app",
        "_awaited",
        "_begun",
        "_bodies",
        "_chunked",
        "_held",
        "_pieces",
        "_task",
        "_trouble",
        "_whole",
        "_wire",
        "caller",
        "head",
        "keep_alive",
        "lost",
        "peer",
        "record",
        "response_complete",
        "response_started",
    )  # fmt: skip

    def __init__(self, app: App, wire: Wire, head: Head, peer: str, *, keep_alive: bool, chunked: bool = True) -> None:
        """`chunked`: whether the client knows chunks; one of HTTP/1.0 does not, and reads until the connection ends."""
        self.head = head
        self.peer = peer
        self.keep_alive = keep_alive
        self._chunked = chunked
        self.response_started = False
        self.response_complete = False
        self.lost = False
        self.record: Record
        self.caller: Any = None
        self._app = app
        self._bodies = app.bodies
        self._wire = wire
        self._pieces: list[bytes | bytearray] = []
        self._held = 0
        self._begun = False
        self._whole = False
        self._trouble: SightlineError | None = None
        self._task: asyncio.Task[None] | None = None
        self._answering = False
        self._awaited = False  # the body, within a time limit

    # ── the request ──────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def begin(self) -> None:
        """Its turn has come: pipelined requests are answered one after another."""
        self._begun = True
        try:
            self._app.arrive(self)
            if self._trouble is not None:
                raise self._trouble
        except SightlineError as error:
            self._refuse(error)
            return
        if self._whole:
            self._start()
            return
        if self.head.expect and self.head.content_length != b"0":
            self._wire.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        self._awaited = True
        self._wire.deadline.move(self._bodies.patience)

    def take(self, piece: bytes) -> None:
        """A piece of the body has come."""
        if self.response_complete or self._trouble is not None:
            return
        size = len(piece)
        try:
            if self._held + size > self._bodies.most:
                raise self._bodies.too_large()
            self._bodies.take(size)
        except SightlineError as error:
            self._trouble = error
            if self._begun:
                self._refuse(error)
            return
        self._held += size
        if size < _SMALL and self._pieces:  # a list of a million pieces would hold thirty times their bytes
            last = self._pieces[-1]
            if not isinstance(last, bytearray):
                last = self._pieces[-1] = bytearray(last)
            last += piece
        else:
            self._pieces.append(piece)
        if self._awaited:
            self._wire.deadline.move(self._bodies.patience)

    @property
    def ahead(self) -> int:
        """Bytes of the body that are here before the request's turn."""
        return 0 if self._begun else self._held

    @property
    def waits_for_chunks(self) -> bool:
        """Whether a body without a length is on its way."""
        return self._awaited and not self.head.content_length

    @property
    def rest(self) -> int:
        """Bytes of the body that are yet to come, where that is known and somebody waits for them."""
        if not self._awaited or not self.head.content_length:
            return 0
        return int(self.head.content_length) - self._held

    def allow(self, size: int) -> bool:
        """Whether `size` more bytes may be held; if not, it has been refused."""
        if self.response_complete:
            return False
        try:
            self._bodies.take(size)
        except SightlineError as error:
            self._refuse(error)
            return False
        self._held += size
        return True

    def moved(self) -> None:
        """Some of the body has come, though not by `take`."""
        if self._awaited:
            self._wire.deadline.move(self._bodies.patience)

    def fill(self, piece: bytearray) -> None:
        """The rest of the body, which was `allow`ed."""
        if not self.response_complete:
            self._pieces.append(piece)
            self.end()

    def end(self) -> None:
        """The body is whole."""
        self._whole = True
        if self._begun and not self.response_complete:
            self._start()

    @property
    def body(self) -> bytes | bytearray:
        """The whole body; it is handed over, and not held here any more."""
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def lose(self) -> None:
        """The connection has ended."""
        self.lost = True
        if self._task is not None:
            self._task.cancel()
            self._wire.tasks.discard(self._task)
        if self._begun and not self._answering and not self.response_complete:
            self.response_complete = True  # a task that is cancelled before its first step never takes one
            self._app.leave(self)
        self._let_go()

    def _start(self) -> None:
        self._stop_waiting()
        self._task = self._wire.loop.create_task(self._answer())
        self._wire.tasks.add(self._task)

    async def _answer(self) -> None:
        self._answering = True
        try:
            await self._app.answer(self)
        finally:
            if self._task is not None:
                self._wire.tasks.discard(self._task)
            self._let_go()

    def stood_still(self) -> None:
        """No byte of the body has come for as long as is waited for one."""
        self._refuse(RequestTimeout(f"No byte of the request body came for {self._bodies.patience:g} s."))

    def _refuse(self, error: SightlineError) -> None:
        if not self._whole and not self.head.content_length:
            self.keep_alive = False  # a body without a length may go on for ever: nobody reads it to its end
        self._app.refuse(self, error)
        self._let_go()

    def _let_go(self) -> None:
        self._stop_waiting()
        self._pieces = []
        held, self._held = self._held, 0
        self._bodies.give(held)

    def _stop_waiting(self) -> None:
        if self._awaited:
            self._awaited = False
            self._wire.deadline.pause()

    # ── the answer ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def respond(self, status: int, lines: bytes, body: bytes) -> None:
        """The whole answer at once. `lines` are header lines, each with its line end."""
        if self.lost:
            return
        head = b"%b%b%b%bcontent-length: %d\r\n\r\n" % (STATUS_LINE[status], self._wire.default_lines(), lines, self._ending(), len(body))
        self._wire.transport.writelines((head, body))
        self.response_started = True
        self._complete()

    def start(self, status: int, lines: bytes, data: bytes) -> None:
        """The head of a streamed answer, and what there is of it."""
        if self.lost:
            return
        self.response_started = True
        framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
        head = b"%b%b%b%b%b\r\n" % (STATUS_LINE[status], self._wire.default_lines(), lines, self._ending(), framing)
        self._wire.transport.write(head + self._framed(data))

    def send(self, data: bytes) -> bool:
        """More of it, some bytes at least; whether to wait for the client (`drain`) before there is more."""
        if self.lost:
            return False
        # Not by `_framed`: a call less for each token.
        self._wire.transport.write(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
        return self._wire.flow.write_paused

    async def drain(self) -> None:
        """Waits while the client does not read."""
        await self._wire.flow.drain()

    def finish(self, data: bytes) -> None:
        """The last of it."""
        if self.lost:
            return
        self._wire.transport.write(b"%b0\r\n\r\n" % self._framed(data) if self._chunked else data)
        self._complete()

    def abort(self) -> None:
        """Cuts off a client whose answer cannot be completed."""
        self.response_complete = True
        if not self.lost:
            self._wire.transport.abort()

    def _framed(self, data: bytes) -> bytes:
        return b"%x\r\n%b\r\n" % (len(data), data) if data and self._chunked else data

    def _ending(self) -> bytes:
        if self._wire.lifecycle.draining:  # so that a proxy's idle connections are gone before the listener is
            self.keep_alive = False
        return b"" if self.keep_alive else b"connection: close\r\n"

    def _complete(self) -> None:
        self.response_complete = True
        if not self.keep_alive:
            self._wire.transport.close()
        self._wire.on_response_complete()
