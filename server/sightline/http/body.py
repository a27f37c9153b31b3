"""Taking a request's body in: never more than allowed, never for longer than allowed, never more of them at once than memory holds."""

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Any, Protocol, Self

from sightline.errors import InvalidRequest, RequestTimeout, RequestTooLarge, Unavailable, UnsupportedMediaType
from sightline.settings import Requests
from sightline.telemetry.metrics import Metrics

Scope = dict[str, Any]


class Connection(Protocol):
    """What the server tells of a request's connection beyond ASGI (`http.server.Protocol`), under `extensions` in its scope."""

    lost: bool
    on_lost: Callable[[], object] | None

    @property
    def body_is_here(self) -> bool: ...

    @property
    def transport(self) -> Any: ...


def connection(scope: Scope) -> Connection:
    found: Connection = scope["extensions"]["sightline.connection"]
    return found


class Hold:
    """Bytes held for one request; leaving the block gives them back."""

    def __init__(self, intake: "Intake") -> None:
        self._intake = intake
        self._bytes = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._intake.give(self._bytes)

    def upto(self, size: int) -> None:
        """Makes sure of `size` bytes in all; Unavailable when that would be more than all requests together may hold."""
        if size > self._bytes:
            self._intake.take(size - self._bytes)
            self._bytes = size


class Intake:
    """The bytes of request bodies in this process."""

    def __init__(self, limits: Requests, patience: float, metrics: Metrics) -> None:
        self._limits = limits
        self._patience = patience
        self._held = 0
        metrics.in_flight_bytes.set_function(lambda: self._held)

    def take(self, size: int) -> None:
        if self._held + size > self._limits.bytes_in_flight:
            raise Unavailable("Too many large requests are being answered just now. Try again shortly.", code="overloaded", retry_after=1)
        self._held += size

    def give(self, size: int) -> None:
        self._held -= size

    def hold(self) -> Hold:
        return Hold(self)

    async def read(self, scope: Scope, receive: Any, hold: Hold) -> bytes | bytearray:
        """The whole body. Raises RequestTooLarge, Unavailable, RequestTimeout (no byte for `patience` seconds), ClientLeft."""
        declared = _content_length(scope)
        if declared > self._limits.body_bytes:
            raise self._too_large()
        # A body that came with its head is handed over without a wait, so it needs no time limit, which costs 4 µs.
        message = await (receive() if connection(scope).body_is_here else self._receive(receive))
        if message["type"] == "http.disconnect":
            raise ClientLeft
        body = self._checked(message.get("body", b""), hold)
        if message.get("more_body"):
            body = bytearray(body)
        while message.get("more_body"):
            message = await self._receive(receive)
            body += message.get("body", b"")
            self._checked(body, hold)
        return body

    async def _receive(self, receive: Any) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._patience):
                message: dict[str, Any] = await receive()
        except TimeoutError:
            raise RequestTimeout(f"No byte of the request body came for {self._patience:g} s.") from None
        if message["type"] == "http.disconnect":
            raise ClientLeft
        return message

    def _checked(self, body: bytes | bytearray, hold: Hold) -> bytes | bytearray:
        if len(body) > self._limits.body_bytes:
            raise self._too_large()
        hold.upto(len(body))
        return body

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(f"The request body is larger than {self._limits.body_bytes:,} bytes. Send smaller pictures, or fewer.")


class ClientLeft(Exception):
    """The client closed its connection: an outcome of its own, nothing is sent."""


def require_json(scope: Scope) -> None:
    for name, value in scope["headers"]:
        if name == b"content-type":
            if value.split(b";", 1)[0].strip().lower() == b"application/json":
                return
            break
    raise UnsupportedMediaType("Send the request as content-type: application/json.")


def _content_length(scope: Scope) -> int:
    for name, value in scope["headers"]:
        if name == b"content-length":
            if not value.isdigit():
                raise InvalidRequest("The content-length header is not a number.", param="content-length")
            return int(value)
    return 0
