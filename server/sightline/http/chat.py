"""`POST /v1/chat/completions`: judge the head, read the body, answer, send. Whatever happens to a request, it is recorded once."""

import asyncio
import time

import structlog

from sightline.errors import InvalidRequest, Overloaded, SightlineError, UnsupportedMediaType
from sightline.gateway import Gateway
from sightline.http import responses
from sightline.http.exchange import Bodies, Exchange
from sightline.http.middleware import CHAT, CLIENT_LEFT, Edge
from sightline.limits.admission import Crowd
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Record, Recorder
from sightline.telemetry.traces import Tracing
from sightline.wire.protocol import ChatRequest, Parser
from sightline.wire.reply import Batch, Pause, Stream, Whole
from sightline.wire.sse import DONE

_log = structlog.get_logger()

_OBSERVED = 64  # times between tokens that are observed together


class Chat:
    """The `exchange.App` of the route. `edge` knows callers and keeps records, for this route as for all others."""

    def __init__(self, gateway: Gateway, edge: Edge, settings: Settings, bodies: Bodies, metrics: Metrics, tracing: Tracing | None) -> None:
        self._gateway = gateway
        self._edge = edge
        self._parser = Parser(settings.requests, settings.images.per_request)
        self.bodies = bodies
        self._crowd = Crowd(settings.limits.requests_in_flight)
        self._disconnects = metrics.client_disconnects
        self._shed = metrics.shed
        self._tracing = tracing

    def arrive(self, exchange: Exchange) -> None:
        """The head is here: refuses what can be refused before the body has come."""
        head = exchange.head
        record = exchange.record = Record(responses.request_id(head.request_id), CHAT)
        if self._tracing is not None:
            record.trace = self._tracing.begin(head.traceparent.decode("latin-1"), record.started)
        self._edge.began()
        try:
            caller = exchange.caller = self._edge.identify(head.authorization, head.forwarded, exchange.peer)
            record.tenant = caller.tenant
            caller.require("chat")
            if head.content_type != b"application/json":
                _require_json(head.content_type)
            self._gateway.refuse_early(caller)
            if head.content_length:
                self._expect(head.content_length)
            self._crowd.enter()
            record.in_crowd = True
        except SightlineError:
            raise
        except Exception:  # noqa: BLE001 - a bug, see `answer`; from here it would pass for a wrong request
            raise self._bug(record) from None

    async def answer(self, exchange: Exchange) -> None:
        """The body is here."""
        record = exchange.record
        record.client_wait = time.perf_counter() - record.started
        if record.trace is not None:
            record.trace.note("intake", record.started)
        try:
            await self._answer(exchange, record)
        except SightlineError as error:
            self._tell(exchange, error)
        except asyncio.CancelledError:
            record.status = CLIENT_LEFT
            if not exchange.lost:
                exchange.abort()
                raise
            self._disconnects.inc()
        except Exception:  # noqa: BLE001 - a bug is told in the log, with its trace, and to the caller as a 500
            self._tell(exchange, self._bug(record))
        finally:
            self._end(record)

    def refuse(self, exchange: Exchange, error: SightlineError) -> None:
        self._tell(exchange, error)
        self._end(exchange.record)

    def leave(self, exchange: Exchange) -> None:
        exchange.record.status = CLIENT_LEFT
        self._disconnects.inc()
        self._end(exchange.record)

    async def _answer(self, exchange: Exchange, record: Record) -> None:
        request = self._parser.parse(exchange.body)
        cache_control = exchange.head.cache_control
        answer = await self._gateway.answer(
            request, exchange.caller, record, cache_control=None if cache_control is None else cache_control.decode("latin-1")
        )
        try:
            lines = b"%bopenai-processing-ms: %d\r\nx-request-id: %b\r\n" % (
                answer.lines,
                (time.perf_counter() - record.started) * 1e3,
                record.request_id.encode(),
            )
            record.status = 200
            if isinstance(answer.reply, Whole):
                record.first_byte = time.perf_counter()
                record.take_usage(answer.reply.body)
                exchange.respond(200, responses.JSON_LINE + lines, answer.reply.body)
            else:
                await self._stream(exchange, answer.reply, request, record, responses.EVENT_LINES + lines)
        finally:
            self._gateway.settle(answer, record)

    async def _stream(self, exchange: Exchange, stream: Stream, request: ChatRequest, record: Record, lines: bytes) -> None:
        """The stream's events as they come. The first is here already, so from now on a failure is an event too."""
        sending = _Sending(exchange, record, self._edge.recorder, lines, usage=request.include_usage)
        try:
            try:
                await stream.pour(sending.take)
                end = DONE
            except SightlineError as error:
                if not exchange.response_started:  # masking may find that it cannot tell the first of it
                    raise
                record.code = error.code
                end = responses.error_event(error)
            exchange.finish(end)
        finally:
            sending.observe()
            await stream.aclose()

    def _tell(self, exchange: Exchange, error: SightlineError) -> None:
        """The refusal on the wire; where an answer has begun there is nothing more to say, and it is cut off."""
        record = exchange.record
        record.code = error.code
        if isinstance(error, Overloaded):
            self._shed.labels(error.reason).inc()
        if exchange.response_started:
            if not exchange.response_complete:
                exchange.abort()
            return
        status, headers, body = responses.render(error)
        record.status = status
        if any(name == b"connection" for name, _ in headers):
            exchange.keep_alive = False
            headers = [header for header in headers if header[0] != b"connection"]
        exchange.respond(status, responses.lines([*headers, (b"x-request-id", record.request_id.encode())]), body)

    def _bug(self, record: Record) -> SightlineError:
        _log.exception("request.failed", request_id=record.request_id, route=record.route)
        return responses.unexpected()

    def _expect(self, content_length: bytes) -> None:
        if not content_length.isdigit() or len(content_length) > 20:
            raise InvalidRequest("The content-length header is not a number.", param="content-length")
        if int(content_length) > self.bodies.most:
            raise self.bodies.too_large()

    def _end(self, record: Record) -> None:
        if record.in_crowd:
            self._crowd.leave()
        self._edge.ended(record)


def _require_json(content_type: bytes) -> None:
    if content_type.split(b";", 1)[0].strip().lower() != b"application/json":
        raise UnsupportedMediaType("Send the request as content-type: application/json.")


class _Sending:
    """A streamed answer on its way out: takes its batches, sends them on, and notes when they came."""

    __slots__ = ("_asked", "_between", "_exchange", "_lines", "_record", "_recorder", "_usage")

    def __init__(self, exchange: Exchange, record: Record, recorder: Recorder, lines: bytes, *, usage: bool) -> None:
        self._exchange = exchange
        self._record = record
        self._recorder = recorder
        self._lines = lines
        self._usage = usage
        self._asked = time.perf_counter()  # since when the engine has been waited for
        self._between: list[float] = []  # seconds from one batch to the next: observed a few dozen at a time, for the caches' sake

    def take(self, batch: Batch) -> Pause | None:
        record = self._record
        now = time.perf_counter()
        record.engine_wait += now - self._asked
        self._asked = now
        record.batches += 1
        if record.last_chunk is None:
            record.first_byte = now
        else:
            self._between.append(now - record.last_chunk)
            if len(self._between) == _OBSERVED:
                self.observe()
        record.last_chunk = now
        if batch.usage:
            record.take_usage(batch.usage)
        data = batch.events if self._usage else batch.deltas
        if not self._exchange.response_started:
            self._exchange.start(200, self._lines, data)
        elif data and self._exchange.send(data):
            return self._drain
        return None

    def observe(self) -> None:
        self._recorder.between_tokens(self._record, self._between)
        self._between = []

    async def _drain(self) -> None:
        await self._exchange.drain()
        now = time.perf_counter()
        self._record.client_wait += now - self._asked
        self._asked = now
