"""One vLLM server: asked, streamed from, and told to stop by closing its connection.

A reply is forwarded as it comes: JSON stays the engine's bytes, and so do a stream's events, once they are judged. Whatever the engine does
wrong is a SightlineError: before the first event the gateway may answer with its status (and try again elsewhere), after it the
stream ends with an error.
"""

import asyncio
import contextlib
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from sightline.engines.connection import BrokenAnswer, CannotConnect, Connector, Disconnected, Response
from sightline.errors import EngineError, EngineRefused, EngineTimeout, RateLimited, SightlineError, Unavailable
from sightline.settings import Timeouts
from sightline.wire import sse
from sightline.wire.reply import UNREADABLE, Batch, Pause, Sink, Whole

MAX_ANSWER_BYTES = 16 * 2**20
_LINGER = 5.0  # seconds an engine may leave a response open after its [DONE]


class NotAnswered(EngineError):
    """The connection ended before the answer began: another attempt may help."""


class Client:
    """Asks one engine at `url` with `key`. Connections are kept alive and opened as needed; `close` it when done."""

    def __init__(self, url: str, key: str | None, timeouts: Timeouts) -> None:
        self.url = url.rstrip("/").removesuffix("/v1")
        self._timeouts = timeouts
        self._connector = Connector(self.url, timeouts.connect)
        self._authorization = f"Authorization: Bearer {key}\r\n".encode("ascii") if key else b""
        self._headers = b"Content-Type: application/json\r\nAccept-Encoding: identity\r\n" + self._authorization

    async def close(self) -> None:
        self._connector.close()

    async def chat(self, body: bytes, *, stream: bool, lines: bytes = b"") -> "EngineReply":
        """Asks, and returns once the answer has begun (its first event) or, as JSON, is there. Raises SightlineError."""
        response = await self._send(b"POST", b"/v1/chat/completions", self._headers + lines, body)
        limit = self._timeouts.first_token if stream else self._timeouts.answer
        response.limit(limit)
        try:
            return await self._reply(response, stream=stream)
        except BaseException as error:
            response.close()
            if isinstance(error, NotAnswered):
                self._connector.drop_idle()  # they were left as long: another attempt gets a new one
            if response.late and isinstance(error, SightlineError):
                what = "begin to answer" if stream else "answer"
                raise EngineTimeout(f"The engine did not {what} within {limit:g} s.") from None
            raise

    async def _reply(self, response: Response, *, stream: bool) -> "EngineReply":
        if not stream:
            return Whole(await _whole(response))
        await _head(response)
        if response.status != 200:
            raise _refusal(response.status, await _read(response), response.headers)
        _require_plain(response)
        if not response.headers.get(b"content-type", b"").startswith(b"text/event-stream"):
            raise EngineError("The engine did not answer with an event stream.")
        events = EngineStream(response, self._timeouts.between_tokens)
        await events.begin()
        return events

    async def _send(self, method: bytes, path: bytes, headers: bytes, body: bytes = b"") -> Response:
        """A response of which nothing has come yet."""
        try:
            return await self._connector.ask(method, path, headers, body)
        except CannotConnect:
            raise Unavailable("The engine cannot be reached.", retry_after=1) from None

    async def _get(self, path: bytes) -> tuple[int, bytes]:
        response = await self._send(b"GET", path, self._authorization)
        try:
            await _head(response)
            return response.status, await _read(response)
        finally:
            response.close()

    async def trouble(self) -> str | None:
        """Why the engine is not well, in a few words for the log; None when GET /health answers 200 within the connect limit."""
        try:
            async with asyncio.timeout(self._timeouts.connect):
                status, _ = await self._get(b"/health")
        except TimeoutError:
            return f"GET /health: no answer within {self._timeouts.connect:g} s"
        except SightlineError as error:
            return error.message
        return None if status == 200 else f"GET /health: status {status}"

    async def models(self) -> list[dict[str, Any]]:
        """The served models and LoRA adapters, as the engine lists them. Raises SightlineError."""
        try:
            async with asyncio.timeout(self._timeouts.connect * 2):
                status, content = await self._get(b"/v1/models")
        except TimeoutError:
            raise EngineTimeout("The engine did not list its models in time.") from None
        if status != 200:
            raise EngineError(f"GET /v1/models: status {status}")
        try:
            return msgspec.json.decode(content, type=_Models).data
        except UNREADABLE:
            raise EngineError("The engine's list of models is not one.") from None

    async def waiting(self) -> int:
        """Requests in the engine's own queue (`vllm:num_requests_waiting`); 0 where it does not say."""
        with contextlib.suppress(SightlineError, TimeoutError, ValueError):
            async with asyncio.timeout(self._timeouts.connect):
                _, text = await self._get(b"/metrics")
            lines = [line for line in text.split(b"\n") if line.startswith(b"vllm:num_requests_waiting{")]
            return int(sum(float(line.rpartition(b" ")[2]) for line in lines))
        return 0


class EngineStream:
    """An open streamed answer: batches of events, as the network brought them. Closing it closes the connection, which ends the work.

    `begin` waits for the first; from then on they are poured.
    """

    def __init__(self, response: Response, between_tokens: float) -> None:
        self._response = response
        self._silence = between_tokens
        self._reader = sse.Reader()
        self._first: Batch | None = None
        self._into: Sink
        self._over: asyncio.Future[Pause | None]  # of a pouring: nothing at its end, or what is to be waited for before more

    @property
    def failed(self) -> bool:
        """Whether it ended by the engine's fault."""
        return self._reader.failure is not None

    async def begin(self) -> None:
        """Waits for the first events, so that a failure before them is still a status. Their time limit is running already."""
        reader = self._reader
        while self._first is None and not reader.done and reader.failure is None:
            self._first = reader.feed(await self._piece())
        if self._first is None:
            raise reader.failure or EngineError("The engine ended its answer before it had begun.")
        self._let_rest()

    async def pour(self, into: Sink) -> None:
        self._into = into
        first, self._first = self._first, None
        wait = into(first) if first is not None else None
        while True:
            if wait is not None:
                await wait()
            if self._reader.failure is not None:  # what came before it has been handed on
                late = f"The engine fell silent for {self._silence:g} s within its answer."
                raise EngineTimeout(late) if self._response.late else self._reader.failure
            if self._reader.done:
                return
            self._over = asyncio.get_running_loop().create_future()
            self._response.limit(self._silence)
            self._response.listen(self._hear)
            try:
                wait = await self._over
            finally:
                self._response.listen(None)
                self._let_rest()

    def _hear(self, piece: bytes) -> None:
        """A piece has come, or an empty one at the end; from within the network's callback."""
        reader, over = self._reader, self._over
        batch = reader.feed(piece)
        try:
            wait = self._into(batch) if batch is not None else None
        except Exception as error:  # noqa: BLE001  it is the pourer's to raise, and must not reach the connection
            if not over.done():
                over.set_exception(error)
        else:
            if wait is None and not reader.done and reader.failure is None:
                self._response.limit(self._silence)
                return
            if not over.done():
                over.set_result(wait)
        self._response.listen(None)

    def _let_rest(self) -> None:
        """It is the engine's silence that is limited; until it is asked for more, the client may be slow."""
        if self._reader.done:  # the connection goes back to the pool by itself once the engine has ended the response, which is soon
            self._response.limit(_LINGER)
        else:
            self._response.unlimited()

    async def _piece(self) -> bytes:
        with contextlib.suppress(BrokenAnswer):
            return await self._response.some()
        return b""

    async def aclose(self) -> None:
        if not self._reader.done:
            self._response.close()


EngineReply = Whole | EngineStream


class _Models(msgspec.Struct):
    data: list[dict[str, Any]]


class _Completion(msgspec.Struct):
    choices: list[msgspec.Raw]


class _Error(msgspec.Struct):
    """vLLM nests its errors since 0.10; older ones had the fields at the top."""

    message: str | None = None
    param: str | None = None
    error: "_Error | None" = None


async def _head(response: Response) -> None:
    try:
        await response.head()
    except Disconnected:
        raise NotAnswered("The engine closed the connection without an answer.") from None
    except BrokenAnswer:
        raise EngineError("The engine's answer is not HTTP.") from None


async def _whole(response: Response) -> bytes:
    """The completion, in one wait."""
    try:
        body = await response.whole(MAX_ANSWER_BYTES)
    except Disconnected:
        raise NotAnswered("The engine closed the connection without an answer.") from None
    except BrokenAnswer:
        if not response.status:
            raise EngineError("The engine's answer is not HTTP.") from None
        if response.status != 200:
            raise _refusal(response.status, b"", response.headers) from None
        raise EngineError("The engine's answer ended before it was complete, or is too large.") from None
    if response.status != 200:
        raise _refusal(response.status, body, response.headers)
    _require_plain(response)
    return _completion(body)


def _require_plain(response: Response) -> None:
    if b"content-encoding" in response.headers:
        raise EngineError("The engine compressed its answer though it was asked not to.")


async def _read(response: Response) -> bytes:
    pieces, size = [], 0
    try:
        while piece := await response.some():
            pieces.append(piece)
            if (size := size + len(piece)) > MAX_ANSWER_BYTES:
                raise EngineError("The engine's answer is too large.")
    except BrokenAnswer:
        raise EngineError("The engine's answer ended before it was complete.") from None
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def _completion(body: bytes) -> bytes:
    try:
        msgspec.json.decode(body, type=_Completion)
    except UNREADABLE:
        raise EngineError("The engine sent something that is not a chat completion.") from None
    return body


def _refusal(status: int, body: bytes, headers: Mapping[bytes, bytes]) -> SightlineError:
    """The engine's own 4xx in our shape, with its message; anything else is the engine's failure and its text stays here."""
    if not 400 <= status < 500 or status in {401, 403, 407}:  # its 401 is about our key, not the caller's
        if status == 503:
            return Unavailable("The engine is not ready.", retry_after=1)
        return EngineError("The engine failed.")
    try:
        found = msgspec.json.decode(body, type=_Error)
        found = found.error or found
    except UNREADABLE:
        found = _Error()
    message = (found.message or "The engine refused the request.")[:1000]
    if status == 429:
        return RateLimited(message, retry_after=_seconds(headers.get(b"retry-after")))
    return EngineRefused(message, status=status, code=_code(status, message), param=found.param)


def _code(status: int, message: str) -> str:
    text = message.lower()
    if "context length" in text or "max_model_len" in text or "maximum model length" in text:
        return "context_length_exceeded"
    return {404: "model_not_found", 413: "request_too_large", 415: "unsupported_media_type"}.get(status, "invalid_value")


def _seconds(value: bytes | None) -> float:
    try:
        seconds = float(value or 1)
    except ValueError:
        return 1.0
    return min(max(seconds, 0.0), 120.0) if math.isfinite(seconds) else 1.0
