"""The edge: every request gets its id, its caller and its record here, and every error its shape.

Pure ASGI (a BaseHTTPMiddleware costs 237 µs a request, this a few), for all routes but the chat route, which comes by `exchange` and asks
the edge for the same things. Routes are closed unless `OPEN` names them, and `/metrics` unless only this machine reaches us.
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol

import structlog

from sightline.errors import MethodNotAllowed, SightlineError
from sightline.http import responses
from sightline.http.forwarded import client_address
from sightline.limits.callers import Caller, Door
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Record, Recorder

_log = structlog.get_logger()

CHAT = "/v1/chat/completions"
METRICS = "/metrics"
OPEN = frozenset({"/", "/health/live", "/health/ready", "/openapi.json", "/docs"})  # to everybody
ROUTES = OPEN | {CHAT, METRICS, "/v1/models"}  # what may stand as a `route` label; anything else is `other`, or its prefix below
PREFIXES = ("/v1/models/", "/v1/cache/images/", "/static/")
CLIENT_LEFT = 499  # nginx's word for it; it is only ever seen in logs and metrics


class App(Protocol):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Lifecycle:
    """Whether the process takes new work."""

    def __init__(self) -> None:
        self.draining = False
        self.drain_started = 0.0  # seconds since the epoch; 0 until then
        self.requests = 0


class Edge:
    def __init__(self, app: App, door: Door, settings: Settings, lifecycle: Lifecycle, metrics: Metrics, recorder: Recorder) -> None:
        self.recorder = recorder
        self._app = app
        self._door = door
        self._address = client_address(settings.trusted_proxies)
        self._open = OPEN | {METRICS} if settings.serves_loopback else OPEN
        self._lifecycle = lifecycle
        metrics.in_flight_requests.set_function(lambda: lifecycle.requests)
        metrics.drain_started.set_function(lambda: lifecycle.drain_started)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path, headers = scope["path"], scope["headers"]
        record = scope["record"] = Record(responses.request_id(_first(headers, b"x-request-id")), _route(path))
        sending = _Sending(send, record, self._lifecycle)
        self.began()
        try:
            await self._respond(path, scope, receive, sending, record)
        except asyncio.CancelledError:
            record.status = CLIENT_LEFT
            raise
        finally:
            self.ended(record)

    def identify(self, authorization: Sequence[bytes], forwarded: Sequence[bytes], peer: str) -> Caller:
        """The caller, by the headers of these names and the connection's address. Raises AuthenticationFailed or RateLimited."""
        return self._door.identify(authorization, self._address(peer, forwarded))

    def began(self) -> None:
        self._lifecycle.requests += 1

    def ended(self, record: Record) -> None:
        self._lifecycle.requests -= 1
        self.recorder.finish(record)

    async def _respond(self, path: str, scope: Any, receive: Any, sending: "_Sending", record: Record) -> None:
        try:
            if path not in self._open and not path.startswith("/static/"):
                headers = scope["headers"]
                authorization = [value for name, value in headers if name == b"authorization"]
                forwarded = [value for name, value in headers if name == b"x-forwarded-for"]
                caller = scope["caller"] = self.identify(authorization, forwarded, scope["client"][0] if scope["client"] else "")
                record.tenant = caller.tenant
            if path == CHAT:  # its POSTs do not come by here
                error = MethodNotAllowed(f"{scope['method']} is not allowed here; POST is.")
                error.headers = ((b"allow", b"POST"),)  # RFC 9110 §15.5.6
                raise error
            await self._app(scope, receive, sending)
        except SightlineError as error:
            await self._refuse(error, sending, record)
        except Exception:  # noqa: BLE001 - a bug is told in the log, with its trace, and to the caller as a 500
            _log.exception("request.failed", request_id=record.request_id, route=record.route)
            await self._refuse(responses.unexpected(), sending, record)

    async def _refuse(self, error: SightlineError, sending: "_Sending", record: Record) -> None:
        record.code = error.code
        if not sending.started:
            await responses.send_json(sending, *responses.render(error))


class _Sending:
    """The way out: adds the headers that every response has, and notes its status."""

    def __init__(self, send: Any, record: Record, lifecycle: Lifecycle) -> None:
        self._send = send
        self._record = record
        self._lifecycle = lifecycle
        self.started = False

    async def __call__(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.started = True
            self._record.status = message["status"]
            message["headers"] = [*message["headers"], (b"x-request-id", self._record.request_id.encode())]
            if self._lifecycle.draining:  # so that a proxy's idle connections are gone before the listener is
                message["headers"].append((b"connection", b"close"))
        await self._send(message)


def _first(headers: responses.Headers, wanted: bytes) -> bytes:
    return next((value for name, value in headers if name == wanted), b"")


def _route(path: str) -> str:
    if path in ROUTES:
        return path
    return next((prefix + "*" for prefix in PREFIXES if path.startswith(prefix)), "other")
