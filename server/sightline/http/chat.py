"""`POST /v1/chat/completions`, as a plain ASGI endpoint: read, answer, send. A framework's route would cost three times as much."""

import asyncio
import time
from types import TracebackType
from typing import Any, Self

from sightline.deadline import Deadline
from sightline.errors import SightlineError
from sightline.gateway import Answer, Gateway
from sightline.http import responses
from sightline.http.body import ClientLeft, Connection, Intake, connection, require_json
from sightline.limits.admission import Crowd
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Record, Recorder
from sightline.wire.protocol import ChatRequest, parse
from sightline.wire.reply import Event, Kind, Stream, Whole
from sightline.wire.sse import DONE, frame


class ChatEndpoint:
    """The scope carries the `caller` and the `record`; `middleware.Edge` put them there."""

    def __init__(self, gateway: Gateway, settings: Settings, metrics: Metrics, recorder: Recorder) -> None:
        self._gateway = gateway
        self._settings = settings
        self._intake = Intake(settings.requests, settings.timeouts.body, metrics)
        self._crowd = Crowd(settings.limits.requests_in_flight)
        self._recorder = recorder

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        caller, record = scope["caller"], scope["record"]
        caller.require("chat")
        require_json(scope)
        self._gateway.refuse_early(caller)
        with self._crowd.one(), self._intake.hold() as hold:
            arrived = time.perf_counter()
            body = await self._intake.read(scope, receive, hold)
            record.client_wait += time.perf_counter() - arrived
            request = parse(body, self._settings.requests, self._settings.images.per_request)
            with Presence(connection(scope)):
                answer = await self._gateway.answer(request, caller, record, cache_control=_header(scope, b"cache-control"))
                try:
                    await self._send(answer, request, record, send)
                finally:
                    self._gateway.settle(answer, record)

    async def _send(self, answer: Answer, request: ChatRequest, record: Record, send: Any) -> None:
        elapsed = (time.perf_counter() - record.started) * 1e3
        headers = [*answer.headers, (b"openai-processing-ms", b"%d" % elapsed)]
        if isinstance(answer.reply, Whole):
            self._recorder.first_byte(record)
            record.take_usage(answer.reply.body)
            await responses.send_json(send, 200, [responses.JSON, *headers], answer.reply.body)
        else:
            await self._send_stream(answer.reply, request, record, headers, send)

    async def _send_stream(self, stream: Stream, request: ChatRequest, record: Record, headers: responses.Headers, send: Any) -> None:
        """The stream's events as they come. The first is here already, so from now on a failure is an event too."""
        task = asyncio.current_task()
        patience = Deadline(task.cancel if task else stream.aclose)
        usage = request.include_usage
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [*responses.EVENTS, *headers]})
            asked = time.perf_counter()
            try:
                async for batch in stream:
                    record.engine_wait += self._recorder.chunk(record) - asked
                    if batch[-1].kind is Kind.USAGE:
                        record.take_usage(batch[-1].data)
                    if data := _frames(batch, usage=usage):
                        patience.move(self._settings.timeouts.client)
                        sent = time.perf_counter()
                        await send({"type": "http.response.body", "body": data, "more_body": True})
                        record.client_wait += time.perf_counter() - sent
                        patience.pause()
                    asked = time.perf_counter()
                end = DONE
            except SightlineError as error:
                record.code = error.code
                end = responses.error_event(error)
            patience.move(self._settings.timeouts.client)
            await send({"type": "http.response.body", "body": end})
        except asyncio.CancelledError:
            if patience.expired:
                raise ClientLeft from None
            raise
        finally:
            patience.stop()
            await stream.aclose()


def _frames(batch: tuple[Event, ...], *, usage: bool) -> bytes:
    return b"".join([frame(event.data) for event in batch if usage or event.kind is Kind.DELTA])


def _header(scope: dict[str, Any], wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


class Presence:
    """Within the block the client is there; when it leaves, the block is cancelled at once and ClientLeft comes out of it."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._left = False

    def __enter__(self) -> Self:
        if self._connection.lost:
            raise ClientLeft
        self._task = asyncio.current_task()
        self._connection.on_lost = self._leave
        return self

    def _leave(self) -> None:
        self._left = True
        if self._task is not None:
            self._task.cancel()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._connection.on_lost = None
        if self._left and self._task is not None:
            self._task.uncancel()
            if kind is None or issubclass(kind, asyncio.CancelledError):
                raise ClientLeft from None
