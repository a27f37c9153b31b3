"""One vLLM server: asked, streamed from, and told to stop by closing its connection.

A reply is forwarded as it comes: JSON stays the engine's bytes, a stream is cut into events and nothing else. Whatever the engine does
wrong is a SightlineError: before the first event the gateway may answer with its status (and try again elsewhere), after it the
stream ends with an error.
"""

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Any, Self

import aiohttp
import msgspec
from yarl import URL

from sightline.deadline import Deadline
from sightline.errors import EngineError, EngineRefused, EngineTimeout, RateLimited, SightlineError, Unavailable
from sightline.settings import Timeouts
from sightline.wire import sse
from sightline.wire.reply import Event, Reply, Whole

MAX_ANSWER_BYTES = 16 * 2**20
_KEEP_ALIVE = 4.0  # vLLM closes idle connections after 5 s (VLLM_HTTP_TIMEOUT_KEEP_ALIVE): leave first, or race with its close
_LINGER = 5.0  # seconds an engine may leave a response open after its [DONE]
_CHAT = "/v1/chat/completions"
_RETRYABLE = (aiohttp.ServerDisconnectedError, ConnectionResetError, aiohttp.ClientOSError)


class NotAnswered(EngineError):
    """The connection ended before the answer began: another attempt may help."""


class Client:
    """Asks one engine at `url` with `key`. Connections are kept alive and opened as needed; `close` it when done."""

    def __init__(self, url: str, key: str | None, timeouts: Timeouts) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._timeouts = timeouts
        self._chat = URL(self.url + _CHAT)
        self._headers = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
        self._session: aiohttp.ClientSession | None = None

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._timeouts.connect),
                skip_auto_headers=("User-Agent", "Accept"),
                auto_decompress=False,
                trust_env=False,
                read_bufsize=2**18,
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    async def chat(self, body: bytes, *, stream: bool, request_id: str) -> Reply:
        """Asks, and returns once the answer has begun (its first event) or, as JSON, is there. Raises SightlineError."""
        limit = self._timeouts.first_token if stream else self._timeouts.answer
        try:
            async with asyncio.timeout(limit):
                return await self._chat_once(body, stream=stream, request_id=request_id)
        except TimeoutError:
            raise EngineTimeout(f"The engine did not {'begin to answer' if stream else 'answer'} within {limit:g} s.") from None

    async def _chat_once(self, body: bytes, *, stream: bool, request_id: str) -> Reply:
        response = await self._request("POST", self._chat, data=body, headers={**self._headers, "X-Request-Id": request_id})
        try:
            if response.status != 200:
                raise _refusal(response.status, await _read(response), response.headers)
            if "Content-Encoding" in response.headers:
                raise EngineError("The engine compressed its answer though it was asked not to.")
            if not stream:
                return Whole(_completion(await _read(response)))
            if response.content_type != "text/event-stream":
                raise EngineError("The engine did not answer with an event stream.")
            events = EngineStream(response, self._timeouts.between_tokens)
            await events.begin()
        except BaseException:
            response.close()
            raise
        return events

    async def _request(self, method: str, url: URL, **kwargs: Any) -> aiohttp.ClientResponse:
        try:
            return await self._open_session().request(method, url, allow_redirects=False, **kwargs)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise Unavailable("The engine cannot be reached.", retry_after=1) from None
        except _RETRYABLE:
            raise NotAnswered("The engine closed the connection without an answer.") from None
        except (aiohttp.ClientError, ValueError):
            raise EngineError("The engine's answer is not HTTP.") from None

    async def healthy(self) -> bool:
        """Whether GET /health answers 200 within the connect limit."""
        with contextlib.suppress(SightlineError, TimeoutError):
            async with asyncio.timeout(self._timeouts.connect):
                response = await self._request("GET", URL(self.url + "/health"), headers=self._headers)
                response.release()
                return response.status == 200
        return False

    async def models(self) -> list[dict[str, Any]]:
        """The served models and LoRA adapters, as the engine lists them. Raises SightlineError."""
        try:
            async with asyncio.timeout(self._timeouts.connect * 2):
                response = await self._request("GET", URL(self.url + "/v1/models"), headers=self._headers)
                try:
                    content = await _read(response)
                finally:
                    response.release()
        except TimeoutError:
            raise EngineTimeout("The engine did not list its models in time.") from None
        if response.status != 200:
            raise EngineError("The engine did not list its models.")
        try:
            return msgspec.json.decode(content, type=_Models).data
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineError("The engine's list of models is not one.") from None


class EngineStream:
    """An open streamed answer: batches of events, as the network brought them. Closing it closes the connection, which ends the work."""

    def __init__(self, response: aiohttp.ClientResponse, between_tokens: float) -> None:
        self._response = response
        self._silence = between_tokens
        self._decoder = sse.Decoder()
        self._first: tuple[Event, ...] = ()
        self._done = False
        self._error: SightlineError | None = None
        self._deadline = Deadline(response.close)

    async def begin(self) -> None:
        """Waits for the first events, so that a failure before them is still a status."""
        self._first = await self._next()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Event, ...]:
        if self._first:
            first, self._first = self._first, ()
            return first
        return await self._next()

    async def _next(self) -> tuple[Event, ...]:
        if self._error is not None:  # what came before the failure has been handed on; now the failure itself
            raise self._error
        while not self._done:
            payloads = await self._payloads()
            events = []
            try:
                for payload in payloads:
                    if payload == b"[DONE]":
                        self._finish()
                        break
                    events.append(sse.event(payload))
            except SightlineError as error:
                self._response.close()
                if not events:
                    raise
                self._error = error
            if events:
                return tuple(events)
        raise StopAsyncIteration

    async def _payloads(self) -> list[bytes]:
        self._deadline.move(self._silence)
        try:
            piece = await self._response.content.readany()
        except (aiohttp.ClientError, OSError, ValueError, asyncio.IncompleteReadError):
            piece = b""
        if self._deadline.expired:
            raise EngineTimeout(f"The engine fell silent for {self._silence:g} s within its answer.")
        if not piece:
            raise EngineError("The engine's answer ended before it was complete.")
        return self._decoder.feed(piece)

    def _finish(self) -> None:
        """The answer is complete. The connection goes back to the pool by itself once the engine has ended the response, which is soon."""
        self._done = True
        self._deadline.move(_LINGER)
        self._response.content.on_eof(self._deadline.stop)

    async def aclose(self) -> None:
        if not self._done:
            self._deadline.stop()
            self._response.close()


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


class _Completion(msgspec.Struct):
    choices: list[msgspec.Raw]


class _Error(msgspec.Struct):
    """vLLM nests its errors since 0.10; older ones had the fields at the top."""

    message: str | None = None
    param: str | None = None
    error: "_Error | None" = None


async def _read(response: aiohttp.ClientResponse) -> bytes:
    try:
        if (response.content_length or 0) > MAX_ANSWER_BYTES:
            raise EngineError("The engine's answer is too large.")
        pieces, size = [], 0
        while piece := await response.content.readany():
            pieces.append(piece)
            if (size := size + len(piece)) > MAX_ANSWER_BYTES:
                raise EngineError("The engine's answer is too large.")
    except (aiohttp.ClientError, OSError, ValueError):
        raise EngineError("The engine's answer ended before it was complete.") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _completion(body: bytes) -> bytes:
    try:
        msgspec.json.decode(body, type=_Completion)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineError("The engine sent something that is not a chat completion.") from None
    return body


def _refusal(status: int, body: bytes, headers: Mapping[str, str]) -> SightlineError:
    """The engine's own 4xx in our shape, with its message; anything else is the engine's failure and its text stays here."""
    if not 400 <= status < 500 or status in {401, 403, 407}:  # its 401 is about our key, not the caller's
        return (
            EngineError("The engine failed.") if status < 500 or status != 503 else Unavailable("The engine is not ready.", retry_after=1)
        )
    try:
        found = msgspec.json.decode(body, type=_Error)
        found = found.error or found
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = _Error()
    message = (found.message or "The engine refused the request.")[:1000]
    if status == 429:
        return RateLimited(message, retry_after=_seconds(headers.get("Retry-After")))
    return EngineRefused(message, status=status, code=_code(status, message), param=found.param)


def _code(status: int, message: str) -> str:
    text = message.lower()
    if "context length" in text or "max_model_len" in text or "maximum model length" in text:
        return "context_length_exceeded"
    return {404: "model_not_found", 413: "request_too_large", 415: "unsupported_media_type"}.get(status, "invalid_value")


def _seconds(value: str | None) -> float:
    try:
        seconds = float(value or 1)
    except ValueError:
        return 1.0
    return min(max(seconds, 0.0), 120.0) if math.isfinite(seconds) else 1.0
