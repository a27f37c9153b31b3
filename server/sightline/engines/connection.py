"""HTTP/1.1 to one engine, as lean as it can be: keep-alive connections, one exchange at a time on each, parsed by httptools.

A general client costs 67 µs of CPU a request and this a third (measured), which is what a gateway beside nginx has to compare with. It does
what an engine needs and no more: no redirects, no cookies, no compression, no proxies. Closing an unfinished response closes its
connection, which is how vLLM is told to stop.
"""

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import httptools

from sightline.deadline import Deadline

KEEP_ALIVE = 4.0  # vLLM closes idle connections after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE): leave first, or race with its close
_HEAD_BYTES = 64 * 2**10
_WAITING_BYTES = 64 * 2**10  # of a body that nobody has read yet: beyond that the engine has to wait
_AT_ONCE = 64 * 2**10  # bytes handed on together: each is copied thrice on its way out, and a client that stops reading holds them all


class CannotConnect(Exception):
    """Nobody answers at that address, or not in time."""


class Disconnected(Exception):
    """The connection ended before a byte of the answer came: another attempt may help."""


class BrokenAnswer(Exception):
    """The answer is not HTTP, or ended before it was complete."""


class Response:
    """One answer. Await `head` first, then `some` until it gives no more, or `listen`; `close` ends it before that."""

    def __init__(self, connection: "Connection") -> None:
        self.status = 0
        self.headers: dict[bytes, bytes] = {}  # names in lower case; of several with one name the last
        self.complete = False
        self.late = False  # its time limit ended it
        self._connection = connection
        self._pieces: list[bytes] = []
        self._waiting_bytes = 0
        self._most = _WAITING_BYTES
        self._whole = False  # nobody wants to hear of anything but the end
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self.hear: Callable[[bytes], None] | None = None  # who listens; while somebody does, nothing waits to be read

    def limit(self, seconds: float) -> None:
        """Ends it when it is not complete in so many seconds, or in those of the next such call."""
        if not self.complete:  # else the connection may be another's already
            self._connection.deadline.move(seconds)

    def unlimited(self) -> None:
        if not self.complete:
            self._connection.deadline.pause()

    async def head(self) -> None:
        """Waits for status and headers. Raises Disconnected or BrokenAnswer."""
        while not self.status:
            await self._changed()

    async def some(self) -> bytes:
        """What has come of the body since the last call, or the next piece of it; nothing at its end. Raises BrokenAnswer."""
        while not self._pieces and not self.complete:
            await self._changed()
        return self._gather()

    def listen(self, hear: Callable[[bytes], None] | None) -> None:
        """From now on `hear` is told each piece as it comes, an empty one at the end. None: it waits for `some`, or another listener."""
        self.hear = hear
        if hear is not None:
            self.deliver()

    def deliver(self) -> None:
        """What has come goes to who listens: once a read, so that what came together goes on together."""
        while self.hear is not None and self._pieces:
            self.hear(self._gather())
        if self.hear is not None and (self.complete or self._error is not None):
            self.hear(b"")

    def _gather(self) -> bytes:
        pieces, self._pieces = self._pieces, []
        if self._waiting_bytes > _AT_ONCE:
            pieces, self._pieces = _split(pieces)
        self._waiting_bytes = sum(map(len, self._pieces)) if self._pieces else 0
        if self._waiting_bytes < _WAITING_BYTES:
            self._connection.go_on()
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def whole(self, most: int) -> bytes:
        """The body, when all of it is here and so is the head; asked instead of `head` and `some`.

        Raises what they raise; BrokenAnswer too when it has `most` bytes or more.
        """
        if not self.complete:
            self._most, self._whole = most, True
            while not self.complete:
                if self._waiting_bytes >= most:
                    raise BrokenAnswer
                await self._changed()
        pieces, self._pieces = self._pieces, []
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def close(self) -> None:
        if not self.complete:
            self._connection.abort()
            self.end(BrokenAnswer())

    async def _changed(self) -> None:
        if self._error is not None:
            raise self._error
        self._waiter = asyncio.get_running_loop().create_future()
        await self._waiter

    def take_head(self, status: int, headers: dict[bytes, bytes]) -> None:
        self.status, self.headers = status, headers
        if not self._whole:
            self._wake()

    def take(self, piece: bytes) -> bool:
        """Whether more may come at once."""
        self._pieces.append(piece)
        self._waiting_bytes += len(piece)
        enough = self._waiting_bytes >= self._most
        if self.hear is None and (enough or not self._whole):
            self._wake()
        return not enough

    def end(self, error: Exception | None = None) -> None:
        self._error, self.complete = error, error is None
        if self.hear is not None:
            self.deliver()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


def _split(pieces: list[bytes]) -> tuple[list[bytes], list[bytes]]:
    """The first piece and as many more as may go on together, and the rest."""
    size = number = 0
    while number < len(pieces) and (not number or size + len(pieces[number]) <= _AT_ONCE):
        size += len(pieces[number])
        number += 1
    return pieces[:number], pieces[number:]


class Connection(asyncio.Protocol):
    """A connection and the exchange that is under way on it, if any. The parser calls the `on_…` methods."""

    def __init__(self, pool: "Connector") -> None:
        self._pool = pool
        self._parser = httptools.HttpResponseParser(self)
        self._response: Response | None = None
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._any = False  # a byte of the answer has come
        self._between_chunks = False  # the parser has seen a chunk to its end, and nothing of what comes next
        self._paused = False
        self.transport: Any = None
        self.idle_since = 0.0
        self.deadline = Deadline(self._late)

    def ask(self, head: bytes, body: bytes) -> Response:
        self._any = False
        self._response = Response(self)
        self.transport.writelines((head, body))
        return self._response

    def _late(self) -> None:
        """The time limit of whatever is under way has passed."""
        if self._response is not None:
            self._response.late = True
            self._response.close()

    def go_on(self) -> None:
        if self._paused:
            self._paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        self._response = None
        self.deadline.stop()
        self.transport.abort()

    @property
    def usable(self) -> bool:
        return not self.transport.is_closing() and time.monotonic() - self.idle_since < KEEP_ALIVE

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self._between_chunks and self._response is not None and self._response.hear is not None:
            start = data.find(b"\r\n", 0, 8) + 2
            size = len(data) - start - 2
            if size > 0 and data[:start] == b"%x\r\n" % size and data[-2:] == b"\r\n":
                # One chunk, not the last, whole and alone in its read: the parser would be where it is.
                self._response.hear(data[start:-2])
                return
        self._any = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            self._fail(BrokenAnswer())
            self.transport.abort()
        if self._response is not None:
            self._response.deliver()
        self._between_chunks = self._between_chunks and data.endswith(b"\r\n")  # else the next one has begun

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002 - asyncio's signature
        self.deadline.stop()
        response = self._response
        if response is not None and response.status and not {b"content-length", b"transfer-encoding"} & response.headers.keys():
            response.end()  # RFC 9112 §6.3: without either, the body is all that comes until the connection ends
            self._response = None
        self._fail(BrokenAnswer() if self._any else Disconnected())

    def _fail(self, error: Exception) -> None:
        response, self._response = self._response, None
        if response is not None:
            response.end(error)

    def on_message_begin(self) -> None:
        if self._response is None:
            raise ValueError("nobody has asked")
        self._headers = {}
        self._head_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_bytes += len(name) + len(value)
        if self._head_bytes > _HEAD_BYTES:
            raise ValueError("the head is too large")
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if status >= 200 and self._response is not None:
            self._response.take_head(status, self._headers)

    def on_chunk_header(self) -> None:
        self._between_chunks = False

    def on_chunk_complete(self) -> None:
        self._between_chunks = True

    def on_body(self, piece: bytes) -> None:
        if self._response is not None and not self._response.take(piece) and not self._paused:
            self._paused = True
            self.transport.pause_reading()

    def on_message_complete(self) -> None:
        response = self._response
        self._between_chunks = False
        if response is None or not response.status:  # 1xx: the answer proper is still to come
            return
        self._response = None
        self.deadline.pause()
        keep = self._parser.should_keep_alive()
        self.go_on()
        response.end()
        if keep:
            self._pool.give_back(self)
        else:
            self.transport.close()


class Connector:
    """The connections to one `http(s)://host:port/prefix`."""

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if self._tls else 80)
        self._prefix = parts.path.rstrip("/").encode("ascii")
        self._netloc = parts.netloc.rpartition("@")[2].encode("ascii")
        self._timeout = timeout
        self._idle: list[Connection] = []
        self._closed = False

    async def ask(self, method: bytes, path: bytes, headers: bytes, body: bytes = b"") -> Response:
        """Sends a request and returns its Response, of which nothing has come yet. `headers` are whole lines. Raises CannotConnect."""
        connection = self._take() or await self._open()
        head = b"%b %b%b HTTP/1.1\r\nHost: %b\r\n%bContent-Length: %d\r\n\r\n" % (
            method,
            self._prefix,
            path,
            self._netloc,
            headers,
            len(body),
        )
        return connection.ask(head, body)

    def give_back(self, connection: Connection) -> None:
        if self._closed:
            connection.transport.close()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def close(self) -> None:
        self._closed = True
        self.drop_idle()

    def drop_idle(self) -> None:
        while self._idle:
            self._idle.pop().transport.close()

    def _take(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                return connection
            connection.transport.close()
        return None

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self._timeout):
                _, connection = await loop.create_connection(lambda: Connection(self), self._host, self._port, ssl=self._tls)
        except (OSError, TimeoutError):
            raise CannotConnect from None
        return connection
