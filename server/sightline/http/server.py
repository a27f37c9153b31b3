"""The process that listens: uvicorn, with a limit on heads, refusals in our shape, and a drain that a load balancer can follow.

On the first SIGTERM readiness turns 503 while the listener stays open for GRACE (so that a balancer sees it and sends nobody more;
answers say `connection: close`); then the listener closes and what is under way may take the rest of the drain window. The second
ends it all at once.
One process: with several workers uvicorn goes on accepting while it drains (measured), so we scale by replicas.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import ClassVar, cast

import structlog
import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from sightline.errors import InvalidRequest, RateLimited, SightlineError
from sightline.http import responses
from sightline.http.connections import Connections
from sightline.http.middleware import App, Lifecycle
from sightline.settings import Settings, SettingsError
from sightline.telemetry.metrics import Metrics

_log = structlog.get_logger()

GRACE = 1.0
_BACKLOG = 2048


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._grace = min(GRACE, drain)
        self._since = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """First signal: drain. Second: out. The signal is not raised again afterwards, so a drained process exits with 0."""
        if self._lifecycle.draining:
            os._exit(1)
        self._lifecycle.draining = True
        self._since = time.monotonic()
        _log.info("gateway.draining", in_flight=self._lifecycle.requests)

    async def on_tick(self, counter: int) -> bool:
        if self._lifecycle.draining and time.monotonic() - self._since >= self._grace:
            return True
        return await super().on_tick(counter)


class Together:
    """A transport that sends a response's head with what follows it in the same turn of the loop: one system call instead of two."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._head = b""
        self.is_closing = transport.is_closing
        self.get_extra_info = transport.get_extra_info
        self.get_write_buffer_size = transport.get_write_buffer_size
        self.pause_reading = transport.pause_reading
        self.resume_reading = transport.resume_reading

    def write(self, data: bytes) -> None:
        if self._head:
            head, self._head = self._head, b""
            self._transport.writelines((head, data))
        elif data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 1"):
            self._head = data
            self._loop.call_soon(self.flush)
        else:
            self._transport.write(data)

    def flush(self) -> None:
        if self._head:
            self.write(b"")

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def abort(self) -> None:
        self._head = b""
        self._transport.abort()


class Protocol(HttpToolsProtocol):
    """uvicorn's, with a limit on the head, which httptools itself would gather for ever, and one on connections from one address."""

    header_bytes: ClassVar[int]
    patience: ClassVar[float]  # seconds that a client may leave what waits for it unread
    peers: ClassVar[Connections]
    _head: int | None = None  # bytes of a head, or of the fields after the last chunk, that is not complete yet; None between heads
    _arrived = 0  # bytes of the read that is being parsed
    _status = 400
    _wrong = "This is not a valid HTTP/1.1 request."
    _peer = ""
    _stalled: asyncio.TimerHandle | None = None  # while more waits for the client than is written at once
    lost = False
    on_lost: Callable[[], object] | None = None  # whoever is answering wants to hear at once

    @property
    def body_is_here(self) -> bool:
        return not self.cycle.more_body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(cast("asyncio.Transport", Together(transport, self.loop)))
        self._peer = self.client[0] if self.client else ""
        if not self.peers.enter(self._peer):
            self._refuse(RateLimited("Too many connections are open from this address. Close some, or use them again.", retry_after=1), 429)

    def pause_writing(self) -> None:
        """Until what is unsent has left, an answer waits, with its request's place and memory; of pipelined requests, any of them."""
        super().pause_writing()
        self._stalled = self.loop.call_later(self.patience, self._look, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        super().resume_writing()
        self._stop_looking()

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

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_looking()
        self.peers.leave(self._peer)
        super().connection_lost(exc)
        self.lost = True
        if self.on_lost is not None:
            self.on_lost()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._head = 0
        self.scope["extensions"] = {"sightline.connection": self}  # type: ignore[dict-item]  # a `http.body.Connection`

    def on_headers_complete(self) -> None:
        self._head = None
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > self.header_bytes:
            self._status = 431
            raise ValueError
        if self.parser.get_http_version() != "1.0" and sum(name == b"host" for name, _ in self.headers) != 1:
            raise ValueError  # RFC 9112 §3.2
        if self.parser.should_upgrade():
            # The parser takes what follows such a head for the other protocol, and then for a request of its own: a smuggled one.
            self._wrong = "No other protocol is spoken here. Send the request without `Upgrade`."
            raise ValueError
        super().on_headers_complete()
        self.headers = []  # those of the request are in its scope: fields after the body are no part of it (RFC 9110 §6.5.1)

    def on_chunk_header(self) -> None:
        """A chunk begins; if it is the last, fields may follow without end. What stood before it in this read is not counted."""
        self._head = -self._arrived

    def on_body(self, body: bytes) -> None:
        self._head = None
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._head = None
        super().on_message_complete()

    def data_received(self, data: bytes) -> None:
        self._arrived = len(data)
        super().data_received(data)
        if self._head is not None and not self.transport.is_closing():
            self._head += len(data)
            if self._head > self.header_bytes:
                self._status = 431
                self.send_400_response("")

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - ours says it in our words
        text = f"The request's head is larger than {self.header_bytes} bytes." if self._status == 431 else self._wrong
        self._refuse(InvalidRequest(text), self._status)

    def _refuse(self, error: SightlineError, status: int) -> None:
        """Says so on the wire, since no request has come for the app to answer, and closes."""
        _, headers, body = responses.render(error)
        headers += [
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
            (b"x-request-id", responses.request_id([]).encode()),
        ]
        head = b"".join(b"%s: %s\r\n" % header for header in headers)
        self.transport.write(STATUS_LINE[status] + head + b"\r\n" + body)
        self.transport.close()


def protocol(header_bytes: int, patience: float, connections: Connections) -> type[Protocol]:
    """The protocol with its limits; uvicorn makes one for each connection, and hands nothing else down."""
    return type("Protocol", (Protocol,), {"header_bytes": header_bytes, "patience": patience, "peers": connections})


def bind(host: str, port: int) -> socket.socket:
    """The listening socket; SettingsError in one line when the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG, reuse_port=False)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        reason = os.strerror(number) if number else str(error)
        raise SettingsError(f"port: cannot listen on {host}:{port} ({reason}); choose another with --port") from None


def run(app: App, lifecycle: Lifecycle, settings: Settings, metrics: Metrics, listener: socket.socket) -> None:
    """Serves until it is told to stop and has drained."""
    drain = settings.timeouts.drain
    connections = Connections(settings.limits.connections, settings.trusted_proxies, metrics)
    config = uvicorn.Config(
        app,
        http=protocol(settings.requests.header_bytes, settings.timeouts.client, connections),
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.timeouts.keep_alive,  # type: ignore[arg-type]  # it is handed to call_later
        timeout_graceful_shutdown=max(drain - min(GRACE, drain), 0.01),  # type: ignore[arg-type]  # it is handed to wait_for
    )
    Server(config, lifecycle, drain).run(sockets=[listener])


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
