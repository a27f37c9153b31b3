"""What is told of one request, whoever asks: its log line and its metrics come from the same values, at the same moment.

Never in a record: prompts, answers, picture bytes, keys, the query of a URL.
"""

import time
from collections.abc import Callable, Iterable
from typing import Any

import msgspec

from sightline.telemetry import logs
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.traces import Trace

_SAVED = frozenset({"HIT", "COALESCED"})
QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})  # asked every few seconds by machines: told at debug level


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None


class _Told(msgspec.Struct):
    usage: _Usage | None = None


_usage = msgspec.json.Decoder(_Told).decode


class Record:
    """One request from its first byte to its answer's last. Times are `time.perf_counter` seconds."""

    __slots__ = (
        "batches", "cache", "client_wait", "code", "completion_tokens", "engine", "engine_wait", "first_byte", "image_bytes",
        "image_hash", "image_tokens", "images", "in_crowd", "last_chunk", "model", "prompt_tokens", "question_hash", "request_id", "route",
        "started", "status", "tenant", "trace",
    )  # fmt: skip

    def __init__(self, request_id: str, route: str) -> None:
        self.request_id = request_id
        self.route = route
        self.started = time.perf_counter()
        self.first_byte: float | None = None
        self.last_chunk: float | None = None
        self.engine_wait = 0.0
        self.client_wait = 0.0
        self.batches = 0  # of a streamed answer
        self.in_crowd = False  # counted among those in the gateway
        self.status = 0
        self.images = 0
        self.image_bytes = 0
        self.image_tokens = 0
        self.model: str | None = None  # a served model, or None: labels are bounded by it
        self.tenant: str | None = None
        self.code: str | None = None
        self.cache: str | None = None
        self.image_hash: str | None = None
        self.question_hash: str | None = None
        self.prompt_tokens: int | None = None
        self.completion_tokens: int | None = None
        self.engine: str | None = None
        self.trace: Trace | None = None  # where it is traced

    def take_usage(self, answer: bytes) -> None:
        """Notes the tokens that a completion, or the last chunk of one, says were used."""
        try:
            usage = _usage(answer).usage
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return
        if usage is not None:
            self.prompt_tokens, self.completion_tokens = usage.prompt_tokens, usage.completion_tokens


class Line(msgspec.Struct, omit_defaults=True):
    """The log line of a finished request, CONTRACT's fields in their order."""

    ts: str
    level: str
    event: str
    request_id: str
    tenant: str | None
    route: str
    model: str | None
    status: int
    code: str | None
    cache: str | None
    image_hash: str | None
    question_hash: str | None
    images: int
    image_bytes: int
    prompt_tokens: int | None
    completion_tokens: int | None
    ttft_ms: float | None
    duration_ms: float
    overhead_ms: float
    engine: str | None
    trace_id: str | None = None


class _Children(msgspec.Struct, frozen=True):
    """What one kind of request adds to, by route, model, status and cache: looked up once, since `.labels()` costs as much as adding."""

    requests: Any
    duration: Any
    first_token: Any
    prompt: Any
    completion: Any
    image: Any
    saved: Any
    seconds: Any


class Recorder:
    """Turns finished records into metrics and a log line. What takes the lines (`logs.writer`) is made with the first of them: by then logs
    have been set up.
    """

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._children: dict[tuple[str, str | None, int, str | None], _Children] = {}
        self._usual: dict[str | None, float] = {}  # seconds that an engine takes for an answer, by model
        self._between: dict[str | None, Any] = {}
        self._overhead = metrics.overhead.observe
        self._timestamps = logs.Timestamps()
        self._write: Callable[[Line], None] | None = None

    def between_tokens(self, record: Record, seconds: Iterable[float]) -> None:
        """So long it took from one piece of a streamed answer to the next."""
        observe = self._between.get(record.model)
        if observe is None:
            observe = self._between[record.model] = self._metrics.inter_token_latency.labels(record.model or "other").observe
        for one in seconds:
            observe(one)

    def finish(self, record: Record) -> None:
        now = time.time()
        duration = time.perf_counter() - record.started
        overhead = max(duration - record.engine_wait - record.client_wait, 0.0)
        kind = record.route, record.model, record.status, record.cache
        children = self._children.get(kind)
        if children is None:
            children = self._children[kind] = self._kind(*kind)
        children.requests()
        children.duration(duration)
        if record.cache is not None:
            self._overhead(overhead)
            if record.first_byte is not None:
                children.first_token(record.first_byte - record.started)
            prompt, completion = record.prompt_tokens or 0, record.completion_tokens or 0
            if record.cache in _SAVED:
                children.saved(prompt + completion)
                children.seconds(self._usual.get(record.model, 0.0))
            else:
                if record.status == 200:
                    usual = self._usual.get(record.model, record.engine_wait)
                    self._usual[record.model] = usual + (record.engine_wait - usual) / 16
                children.prompt(prompt)
                children.completion(completion)
                if record.image_tokens:
                    children.image(record.image_tokens)
        if self._write is None:
            self._write = logs.writer()
        self._write(
            Line(
                self._timestamps.at(now),
                "debug" if record.route in QUIET else "info",
                "request.finished",
                record.request_id,
                record.tenant,
                record.route,
                record.model,
                record.status,
                record.code,
                record.cache,
                record.image_hash,
                record.question_hash,
                record.images,
                record.image_bytes,
                record.prompt_tokens,
                record.completion_tokens,
                _ms(record.first_byte - record.started) if record.first_byte is not None else None,
                _ms(duration),
                _ms(overhead),
                record.engine,
                record.trace.trace_id if record.trace is not None else None,
            )
        )
        if record.trace is not None:
            _end_trace(record.trace, record)

    def _kind(self, route: str, served: str | None, status: int, source: str | None) -> _Children:
        m, model, cache = self._metrics, served or "other", source or "none"
        tokens = {kind: m.tokens.labels(model, kind).inc for kind in ("prompt", "completion", "image", "saved")}
        return _Children(
            m.requests.labels(route, model, str(status), cache).inc,
            m.request_duration.labels(route, model, cache).observe,
            m.time_to_first_token.labels(model, cache).observe if source is not None else None,
            **tokens,
            seconds=m.engine_seconds_saved.labels(model).inc,
        )


def _end_trace(trace: Trace, record: Record) -> None:
    trace.end(
        {
            "http.request.method": "POST",
            "http.route": record.route,
            "http.response.status_code": record.status,
            "error.type": record.code,
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": record.model,
            "gen_ai.usage.input_tokens": record.prompt_tokens,
            "gen_ai.usage.output_tokens": record.completion_tokens,
            "sightline.request_id": record.request_id,
            "sightline.cache": record.cache,
            "sightline.image_hash": record.image_hash,
            "sightline.question_hash": record.question_hash,
            "sightline.images": record.images,
        },
        first_byte=record.first_byte,
        last_byte=record.last_chunk or record.first_byte,
        failed=(record.code or "error") if record.status >= 500 or (record.status == 200 and record.code) else None,
    )


def _ms(seconds: float) -> float:
    return int(seconds * 1e6 + 0.5) / 1e3  # `round` to three places takes four times as long
