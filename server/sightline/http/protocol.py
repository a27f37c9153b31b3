"""HTTP/1.1 on one connection, parsed by httptools: the chat route's requests become `Exchange`s, all others uvicorn's ASGI cycles.

Heads are limited in size, which httptools itself would gather for ever; connections are limited by address; requests that are
pipelined are answered in their order; who does not read is cut off.
"""

import asyncio
import logging
from collections import deque
from math import inf
from typing import Any, ClassVar, cast
from urllib.parse import unquote

import httptools
import structlog
import uvicorn
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT, FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.protocols.utils import get_local_addr, get_remote_addr
from uvicorn.server import ServerState

from sightline.deadline import Deadline
from sightline.errors import InvalidRequest, RateLimited, SightlineError
from sightline.http import responses
from sightline.http.connections import Connections
from sightline.http.exchange import App, Exchange
from sightline.http.heads import Head, Known
from sightline.http.middleware import CHAT, Lifecycle
from sightline.settings import Settings

_log = structlog.get_logger()
_uvicorn_log = logging.getLogger("uvicorn.error")
_CHAT = CHAT.encode()

_QUEUED = 16  # requests behind one another up to which more are read
_AHEAD = 64 * 2**10  # bytes of a body that are read before its request's turn
_DIRECT = 32 * 2**10  # bytes of a body yet to come from which on it is read past the parser
_FIRST = 256 * 2**10  # most bytes of room made for it before any have come


class Protocol(asyncio.Protocol):
    """uvicorn makes one for each connection, of the type that `protocol` gives."""

    app: ClassVar[App]
    lifecycle: ClassVar[Lifecycle]
    header_bytes: ClassVar[int]
    patience: ClassVar[float]  # seconds that a client may leave what waits for it unread
    peers: ClassVar[Connections]

    def __init__(
        self, config: uvicorn.Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None
    ) -> None:
        self.loop = _loop or asyncio.get_running_loop()
        self.tasks = server_state.tasks
        self.deadline = Deadline(self._stood_still)
        self.transport: asyncio.Transport
        self._config = config
        self._state = server_state
        self._app_state = app_state
        self._parser = self._new_parser()
        self.flow: FlowControl
        self._peer = ""
        self._client: tuple[str, int] | None = None
        self._server: tuple[str, int | None] | None = None
        self._cycle: Exchange | RequestResponseCycle | None = None  # the request that came last
        self._current: Exchange | RequestResponseCycle | None = None  # the one whose turn it is
        self._pipeline: deque[Exchange | RequestResponseCycle] = deque()
        self._headers: responses.Headers = []
        self._url = b""
        self._size = 0  # bytes of this request's head as parsed
        self._hosts = 0
        self._known: Known | None = None  # the head that came last, alone and whole in its read
        self._heads = 0  # that have been read in this read
        self._head: int | None = None  # bytes of a head, or of the fields after the last chunk, not complete yet; None between heads
        self._arrived = 0  # bytes of the read that is being parsed
        self._others = False  # whether a request has ended within it
        self._within = False  # the parser has seen the head of the request that came last, and not yet its end
        self._held_up = False  # the next request waits for the client to read what he has been sent
        self._last_word: bytes | None = None  # the refusal of what is no request, for when all before it has been answered
        self._status = 400
        self._wrong = "This is not a valid HTTP/1.1 request."
        self._dated: list[tuple[bytes, bytes]] | None = None
        self._date = b""
        self._idle_since = inf  # loop time; infinite while something is under way
        self._idle: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None  # while more waits for the client than is written at once

    # ── the connection ───────────────────────────────────────────────────────────────────────────────────────────────────────────

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._state.connections.add(self)  # type: ignore[arg-type]  # its protocols are uvicorn's own by name
        self.flow = FlowControl(self.transport)
        self._client = get_remote_addr(self.transport)
        self._server = get_local_addr(self.transport)
        self._peer = self._client[0] if self._client else ""
        self._idle_since = self.loop.time()  # a head that does not come, or not to its end, is waited for as long
        self._idle = self.loop.call_later(self._config.timeout_keep_alive, self._rested)
        if not self.peers.enter(self._peer):
            self._refuse(RateLimited("Too many connections are open from this address. Close some, or use them again.", retry_after=1), 429)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self._stop_looking()
        self.deadline.stop()
        if self._idle is not None:
            self._idle.cancel()
        self._state.connections.discard(self)
        self.peers.leave(self._peer)
        self.flow.resume_writing()
        for cycle in {self._current, self._cycle, *self._pipeline} - {None}:
            if isinstance(cycle, Exchange):
                cycle.lose()
            elif cycle is not None:
                cycle.disconnected = cycle.disconnected or not cycle.response_complete
                cycle.message_event.set()
        self._pipeline.clear()

    def eof_received(self) -> None:
        """Nobody half closes a connection to us and still reads: as with a closed one, what is under way ends."""

    def pause_writing(self) -> None:
        """Until what is unsent has left, an answer waits, with its request's place and memory; of pipelined requests, any of them."""
        self.flow.pause_writing()
        self._stop_looking()
        self._watch()

    def resume_writing(self) -> None:
        self.flow.resume_writing()
        self._stop_looking()
        if self.transport.is_closing():
            self._watch()
        elif self._held_up:
            self._held_up = False
            self._next()

    def shutdown(self) -> None:
        """The server drains: this connection ends with what is under way on it."""
        if self._cycle is None or self._cycle.response_complete:
            self._close()
        else:
            self._cycle.keep_alive = False  # of requests behind one another the last closes

    def default_lines(self) -> bytes:
        """The header lines of every answer: its date, which the server renews each second."""
        if self._state.default_headers is not self._dated:
            self._dated = self._state.default_headers
            self._date = responses.lines(self._dated)
        return self._date

    def on_response_complete(self) -> None:
        self._state.total_requests += 1
        if self.transport.is_closing():
            self._watch()
        else:
            self._next()

    def _next(self) -> None:
        """The next request's turn; where there is none, the last word, or a rest."""
        if self.flow.write_paused:
            self._hold_up()
            return
        if self._may_read():  # while nothing is read, nobody hears that the client has left
            self.flow.resume_reading()
        if self._pipeline:
            # Not from here: a refused request is answered as it begins, and hundreds behind one another would nest.
            self.loop.call_soon(self._begin_next)
        elif self._last_word is not None:
            self._say_last()
        else:
            self._idle_since = self.loop.time()
            if self._idle is None:
                self._idle = self.loop.call_later(self._config.timeout_keep_alive, self._rested)

    def _hold_up(self) -> None:
        """Nothing more is read or answered until the client has read: else each request would add its answer to what is unsent."""
        self._held_up = True
        self.flow.pause_reading()

    def _may_read(self) -> bool:
        return len(self._pipeline) < _QUEUED and not self._held_up and self._last_word is None

    def _rested(self) -> None:
        """Closes a connection on which nothing has come for the whole time since the last answer, else looks again when that could be."""
        self._idle = None
        if self._idle_since == inf or self.transport.is_closing():
            return
        end = self._idle_since + self._config.timeout_keep_alive
        if self.loop.time() >= end:
            self._close()
        else:
            self._idle = self.loop.call_at(end, self._rested)

    def _stood_still(self) -> None:
        if isinstance(self._cycle, Exchange):
            self._cycle.stood_still()

    def _close(self) -> None:
        """Once all is sent; and without that when the client does not take it."""
        self.transport.close()
        self._watch()

    def _watch(self) -> None:
        unsent = self.transport.get_write_buffer_size()
        if unsent and self._stalled is None:
            self._stalled = self.loop.call_later(self.patience, self._look, unsent)

    def _look(self, unsent: int) -> None:
        left = self.transport.get_write_buffer_size()
        if left < unsent:
            self._stalled = self.loop.call_later(self.patience, self._look, left)
        else:
            self.transport.abort()

    def _stop_looking(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    # ── what comes ───────────────────────────────────────────────────────────────────────────────────────────────────────────────

    def data_received(self, data: bytes) -> None:
        if self._last_word is not None:
            return
        between = self._head is None and not self._within
        if between and self._known is not None and self._begin_known(self._known, data):
            return
        self._arrived = len(data)
        self._others = False
        self._heads = 0
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if isinstance(error, httptools.HttpParserCallbackError) and not isinstance(error.__context__, _NoRequest):
                _log.error("request.failed", exc_info=True)  # a bug of ours must not pass for a request that is wrong
                self._refuse(responses.unexpected(), 500)
            else:
                self._refuse_head()
            return
        if between and self._heads == 1 and isinstance(self._cycle, Exchange) and self._cycle.head.content_length:
            self._known = Known.of(data, self._cycle.head, keep_alive=self._cycle.keep_alive)
        if isinstance(self._cycle, Exchange) and self._cycle.waits_for_chunks:
            # A read at a time: the pieces may be of one byte, and a turn of the loop may bring dozens of reads.
            self.flow.pause_reading()
            self.loop.call_soon(self._go_on)
        if isinstance(self._cycle, Exchange) and (rest := self._cycle.rest) >= _DIRECT:
            self.transport.set_protocol(Filling(self, self._cycle, rest))
        elif self._head is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > self.header_bytes:
                self._status = 431
                self._refuse_head()

    def _go_on(self) -> None:
        if self._may_read():
            self.flow.resume_reading()

    def _begin_known(self, known: Known, data: bytes) -> bool:
        """Whether `data` begins with the head that is known, and ends with its body or before: then the parser need not see it."""
        if (self._cycle is not None and not self._cycle.response_complete) or self.flow.write_paused or self.transport.is_closing():
            return False
        found = known.again(data)
        if found is None:
            return False
        head, start = found
        rest = start + int(head.content_length) - len(data)
        if rest < 0:  # another request follows at once
            return False
        self._idle_since = inf
        cycle = self._cycle = Exchange(self.app, self, head, self._peer, keep_alive=known.keep_alive)
        if rest:
            self._begin(cycle)
            if start < len(data):
                cycle.take(data[start:])
            self.transport.set_protocol(Filling(self, cycle, rest))
        else:
            cycle.take(data[start:])
            cycle.end()
            self._begin(cycle)
        return True

    def on_message_begin(self) -> None:
        self._headers = []
        self._url = b""
        self._size = self._hosts = 0
        self._head = -self._arrived if self._others else 0  # what stood before it in this read is not counted

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        name = name.lower()
        self._size += len(name) + len(value)
        if name == b"host":
            self._hosts += 1
        self._headers.append((name, value.rstrip(b" \t")))  # the parser takes off what stands before it (RFC 9112 §5.1)

    def on_headers_complete(self) -> None:
        self._head = None
        self._heads += 1
        self._idle_since = inf
        if self._size + len(self._url) > self.header_bytes:
            self._status = 431
            raise _NoRequest
        parser = self._parser
        old = parser.get_http_version() == "1.0"
        if not old and self._hosts != 1:
            raise _NoRequest  # RFC 9112 §3.2
        if parser.should_upgrade():
            # The parser takes what follows such a head for the other protocol, and then for a request of its own: a smuggled one.
            self._wrong = "No other protocol is spoken here. Send the request without `Upgrade`."
            raise _NoRequest
        method = parser.get_method()
        keep_alive = not old and parser.should_keep_alive()
        path, query = (CHAT, b"") if self._url == _CHAT else _split(self._url)
        head = Head.of(self._headers)
        if old:
            head.expect = b""  # RFC 9110 §10.1.1
        cycle = (
            Exchange(self.app, self, head, self._peer, keep_alive=keep_alive, chunked=not old)
            if path == CHAT and method == b"POST"
            else self._asgi(method.decode("ascii"), path, query, keep_alive=keep_alive)
        )
        self._headers = []  # fields after the body are no part of the request (RFC 9110 §6.5.1)
        self._within = True
        before, self._cycle = self._cycle, cycle
        answered = before is None or before.response_complete
        if answered and not self.flow.write_paused:
            self._begin(cycle)
            return
        self._pipeline.appendleft(cycle)
        if answered:
            self._hold_up()
        elif len(self._pipeline) >= _QUEUED:
            self.flow.pause_reading()

    def on_chunk_header(self) -> None:
        """A chunk begins; if it is the last, fields may follow without end. What stood before it in this read is not counted."""
        self._head = -self._arrived

    def on_body(self, body: bytes) -> None:
        self._head = None
        cycle = self._cycle
        if isinstance(cycle, Exchange):
            cycle.take(body)
            if cycle.ahead > _AHEAD:
                self.flow.pause_reading()
        elif cycle is not None and not cycle.response_complete:
            cycle.body += body
            if len(cycle.body) > HIGH_WATER_LIMIT:
                self.flow.pause_reading()
            cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._head = None
        self._others = True
        self._within = False
        cycle = self._cycle
        if isinstance(cycle, Exchange):
            cycle.end()
        elif cycle is not None and not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()

    def _begin_next(self) -> None:
        if self._pipeline and self.flow.write_paused:
            self._hold_up()
        elif self._pipeline:
            self._begin(self._pipeline.pop())
            if self._may_read():  # so much of its body may have come just before its turn that no more was read
                self.flow.resume_reading()

    def _begin(self, cycle: Exchange | RequestResponseCycle) -> None:
        self._current = cycle
        if isinstance(cycle, Exchange):
            cycle.begin()
            return
        task = self.loop.create_task(cycle.run_asgi(self._config.loaded_app))
        task.add_done_callback(self.tasks.discard)
        self.tasks.add(task)

    def _asgi(self, method: str, path: str, query: bytes, *, keep_alive: bool) -> RequestResponseCycle:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": self._parser.get_http_version(),
            "server": self._server,
            "client": self._client,
            "scheme": "http",
            "method": method,
            "root_path": "",
            "path": path,
            "raw_path": self._url.partition(b"?")[0],
            "query_string": query,
            "headers": self._headers,
            "state": self._app_state.copy(),
        }
        return RequestResponseCycle(
            scope=scope,  # type: ignore[arg-type]  # its TypedDict wants literals
            transport=self.transport,
            flow=self.flow,
            logger=_uvicorn_log,
            access_logger=_uvicorn_log,
            access_log=False,
            default_headers=self._state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=any(name == b"expect" for name, _ in self._headers),
            keep_alive=keep_alive,
            on_response=self.on_response_complete,
        )

    def filled(self) -> None:
        """The body that was read past the parser is over: what follows is a request of its own."""
        if self._within:  # else its head was known, and the parser has not seen that either
            self._within = False
            self._parser = self._new_parser()
        self.transport.set_protocol(self)

    def _new_parser(self) -> httptools.HttpRequestParser:
        parser = httptools.HttpRequestParser(self)
        # What follows a request that asked to close is dropped by us, not an error that would take its answer away.
        parser.set_dangerous_leniencies(lenient_data_after_close=True)
        return parser

    # ── what is no request ───────────────────────────────────────────────────────────────────────────────────────────────────────

    def _refuse_head(self) -> None:
        text = f"The request's head is larger than {self.header_bytes} bytes." if self._status == 431 else self._wrong
        self._refuse(InvalidRequest(text), self._status)

    def _refuse(self, error: SightlineError, status: int) -> None:
        """Says so on the wire, since no request has come for anybody to answer, and closes; all that came before is answered first."""
        _, headers, body = responses.render(error)
        headers += [
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-request-id", responses.request_id(b"").encode()),
        ]
        self._last_word = STATUS_LINE[status] + responses.lines(headers) + b"\r\n" + body
        broken = self._cycle if self._within else None  # the request whose body it was: this is what it is told
        if broken is not None and broken in self._pipeline:
            self._pipeline.remove(broken)
            if isinstance(broken, Exchange):
                broken.lose()
        if self._pipeline or not (self._current is None or self._current is broken or self._current.response_complete):
            self.flow.pause_reading()
        else:
            self._say_last()

    def _say_last(self) -> None:
        self.transport.write(self._last_word or b"")
        self._close()


class _NoRequest(ValueError):
    """Raised within the parser's callbacks, for it to stop: what came is no request that anybody could answer."""


class Filling(asyncio.BufferedProtocol):
    """Reads the `rest` bytes of a long body straight into their place: from the kernel, past the parser, without a copy.

    The place grows as the body comes, fourfold at most, so that nobody holds memory by what he announces. The bytes of a body that has been
    refused meanwhile are read and dropped.
    """

    def __init__(self, protocol: Protocol, exchange: Exchange, rest: int) -> None:
        self._protocol = protocol
        self._exchange = exchange
        self._rest = rest
        self._at = 0
        room = min(rest, _FIRST)
        self._buffer = bytearray(room)
        self._dropping = not exchange.allow(room)
        self.pause_writing = protocol.pause_writing
        self.resume_writing = protocol.resume_writing
        self.eof_received = protocol.eof_received
        self.connection_lost = protocol.connection_lost

    def get_buffer(self, sizehint: int) -> memoryview:  # noqa: ARG002 - we know better how much will come
        if self._dropping:
            return memoryview(self._buffer)[: self._rest]
        if self._at == len(self._buffer):
            more = min(3 * self._at, self._rest)
            if self._exchange.allow(more):
                self._buffer += bytes(more)
            else:
                self._dropping = True
                return memoryview(self._buffer)[: self._rest]
        return memoryview(self._buffer)[self._at :]

    def buffer_updated(self, nbytes: int) -> None:
        self._at += nbytes
        self._rest -= nbytes
        self._dropping = self._dropping or self._exchange.response_complete
        if self._rest:
            self._exchange.moved()
            return
        self._protocol.filled()
        if not self._dropping:
            self._exchange.fill(self._buffer)

    # set anew for each in `__init__`: what is not about reading is the protocol's affair
    pause_writing: Any
    resume_writing: Any
    eof_received: Any
    connection_lost: Any


def _split(url: bytes) -> tuple[str, bytes]:
    """Path, unquoted, and query."""
    try:
        parsed = httptools.parse_url(url)
        path = (parsed.path or b"").decode("ascii")
    except (httptools.HttpParserInvalidURLError, UnicodeDecodeError):
        raise _NoRequest from None
    return unquote(path) if "%" in path else path, parsed.query or b""


def protocol(app: App, lifecycle: Lifecycle, settings: Settings, connections: Connections) -> type[Protocol]:
    """The protocol with what its connections share; uvicorn makes one for each, and hands nothing else down."""
    shared = {
        "app": app,
        "lifecycle": lifecycle,
        "header_bytes": settings.requests.header_bytes,
        "patience": settings.timeouts.client,
        "peers": connections,
    }
    return type("Protocol", (Protocol,), shared)
