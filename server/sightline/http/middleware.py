"""The edge: every request gets its id, its caller and its record here, and every error its shape.

Pure ASGI (a BaseHTTPMiddleware costs 237 µs a request, this a few). Routes are closed unless `OPEN` names them.
"""

import asyncio
from typing import Any, Protocol

import structlog

from sightline.errors import SightlineError
from sightline.http import responses
from sightline.http.body import ClientLeft, connection
from sightline.http.forwarded import ClientAddress
from sightline.limits.callers import Door
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Record, Recorder

_log = structlog.get_logger()

CHAT = "/v1/chat/completions"
OPEN = frozenset({"/", "/health/live", "/health/ready", "/metrics", "/openapi.json", "/docs"})
ROUTES = OPEN | {CHAT, "/v1/models"}  # what may stand as a `route` label; anything else is `other`, or its prefix below
PREFIXES = ("/v1/models/", "/v1/cache/images/", "/static/")
CLIENT_LEFT = 499  # nginx's word for it; it is only ever seen in logs and metrics


class App(Protocol):
    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


class Lifecycle:
    """Whether the process takes new work."""

    def __init__(self) -> None:
        self.draining = False
        self.requests = 0


class Edge:
    def __init__(
        self, app: App, chat: App, door: Door, address: ClientAddress, lifecycle: Lifecycle, metrics: Metrics, recorder: Recorder
    ) -> None:
        self._app = app
        self._chat = chat
        self._door = door
        self._address = address
        self._lifecycle = lifecycle
        self._recorder = recorder
        metrics.in_flight_requests.set_function(lambda: lifecycle.requests)
        self._disconnects = metrics.client_disconnects

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        path = scope["path"]
        record = scope["record"] = Record(responses.request_id(scope["headers"]), _route(path))
        sending = _Sending(send, record, self._lifecycle)
        self._lifecycle.requests += 1
        try:
            await self._respond(path, scope, receive, sending, record)
        except ClientLeft:
            record.status = CLIENT_LEFT
            self._disconnects.inc()
            sending.abort(scope)
        except asyncio.CancelledError:
            record.status = CLIENT_LEFT
            raise
        finally:
            self._lifecycle.requests -= 1
            self._recorder.finish(record)

    async def _respond(self, path: str, scope: Any, receive: Any, sending: "_Sending", record: Record) -> None:
        try:
            if path not in OPEN and not path.startswith("/static/"):
                authorization = [value for name, value in scope["headers"] if name == b"authorization"]
                forwarded = [value for name, value in scope["headers"] if name == b"x-forwarded-for"]
                address = self._address(scope["client"][0] if scope["client"] else "", forwarded)
                caller = scope["caller"] = self._door.identify(authorization, address)
                record.tenant = caller.tenant
            if path == CHAT and scope["method"] == "POST":
                await self._chat(scope, receive, sending)
            else:
                await self._app(scope, receive, sending)
        except SightlineError as error:
            await self._refuse(error, sending, record)
        except ClientLeft:
            raise
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

    def abort(self, scope: Any) -> None:
        """A client that stopped reading is cut off; for one that left this does nothing."""
        if self.started:
            connection(scope).transport.abort()


def _route(path: str) -> str:
    if path in ROUTES:
        return path
    return next((prefix + "*" for prefix in PREFIXES if path.startswith(prefix)), "other")
