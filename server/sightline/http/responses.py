"""How answers and errors look on the wire: one place renders them all."""

import math
import os
import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from sightline.errors import LONGEST_RETRY_AFTER, SightlineError
from sightline.wire.sse import frame

Headers = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
JSON_LINE = b"content-type: application/json\r\n"
EVENT_LINES = b"content-type: text/event-stream; charset=utf-8\r\ncache-control: no-cache, no-transform\r\nx-accel-buffering: no\r\n"

_encode = msgspec.json.Encoder().encode
_a_request_id = re.compile(rb"[\w-]{1,64}").fullmatch


def request_id(inbound: bytes) -> str:
    """The inbound x-request-id if it is a plain word, else a new one."""
    if inbound and inbound.isascii() and _a_request_id(inbound):
        return str(inbound, "ascii")
    return f"req_{os.urandom(16).hex()}"


def lines(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """Headers as they stand on the wire. What a value holds is ours, or was checked: never a line end."""
    return b"".join([b"%b: %b\r\n" % header for header in headers])


def render(error: SightlineError) -> tuple[int, Headers, bytes]:
    """A refusal or failure as (status, headers, body), in OpenAI's shape."""
    headers = [JSON, *error.headers]
    retry_after = error.retry_after
    if retry_after is None and error.status in {429, 503}:
        retry_after = 1.0
    if retry_after is not None:
        seconds = min(max(retry_after, 0.001), LONGEST_RETRY_AFTER)
        headers += [(b"retry-after", b"%d" % math.ceil(seconds)), (b"retry-after-ms", b"%d" % math.ceil(seconds * 1e3))]
    if error.status == HTTPStatus.REQUEST_TIMEOUT:
        headers.append((b"connection", b"close"))  # RFC 9110 §15.5.9: the rest of the body may still come, and would be read as a request
    if error.should_retry is not None:
        headers.append((b"x-should-retry", b"true" if error.should_retry else b"false"))
    return error.status, headers, _encode(error.body())


def error_event(error: SightlineError) -> bytes:
    """The event that ends a stream which failed after it had begun; openai-python raises APIError on exactly this form."""
    return frame(_encode(error.body()))


def unexpected() -> SightlineError:
    """For what should not have happened: it is logged, and the caller learns nothing of it but its request id."""
    return SightlineError(HTTPStatus.INTERNAL_SERVER_ERROR.description + ". Quote the x-request-id to the operator.", code="internal_error")


async def send_json(send: Any, status: int, headers: Headers, body: bytes) -> None:
    await send({"type": "http.response.start", "status": status, "headers": [*headers, (b"content-length", b"%d" % len(body))]})
    await send({"type": "http.response.body", "body": body})
