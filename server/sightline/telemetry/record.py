"""What is told of one request, whoever asks: its log line and its metrics come from the same values, at the same moment.

Never in a record: prompts, answers, picture bytes, keys, the query of a URL.
"""

import time
from typing import Any

import msgspec
import structlog

from sightline.telemetry.metrics import Metrics

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
        "cache", "chunks", "client_wait", "code", "completion_tokens", "engine", "engine_wait", "first_byte", "image_bytes",
        "image_hash", "image_tokens", "images", "last_chunk", "model", "prompt_tokens", "question_hash", "request_id", "route",
        "started", "status", "tenant",
    )  # fmt: skip

    def __init__(self, request_id: str, route: str) -> None:
        self.request_id = request_id
        self.route = route
        self.started = time.perf_counter()
        self.first_byte: float | None = None
        self.last_chunk: float | None = None
        self.engine_wait = 0.0
        self.client_wait = 0.0
        self.chunks = 0
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

    def take_usage(self, answer: bytes) -> None:
        """Notes the tokens that a completion, or the last chunk of one, says were used."""
        try:
            usage = _usage(answer).usage
        except msgspec.DecodeError:
            return
        if usage is not None:
            self.prompt_tokens, self.completion_tokens = usage.prompt_tokens, usage.completion_tokens


class Recorder:
    """Turns finished records into a log line and metrics; label children are looked up once."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics
        self._children: dict[tuple[Any, ...], Any] = {}
        self._log: Any = None  # bound with the first line, by when logs have been set up; binding anew each time costs a third of a line

    def first_byte(self, record: Record) -> None:
        record.first_byte = time.perf_counter()

    def chunk(self, record: Record) -> float:
        """A chunk of a streamed answer has come and is leaving; the time."""
        now = time.perf_counter()
        record.chunks += 1
        if record.last_chunk is None:
            record.first_byte = now
        else:
            self._child(self._metrics.inter_token_latency, record.model or "other").observe(now - record.last_chunk)
        record.last_chunk = now
        return now

    def finish(self, record: Record) -> None:
        m, model, cache = self._metrics, record.model or "other", record.cache or "none"
        duration = time.perf_counter() - record.started
        overhead = max(duration - record.engine_wait - record.client_wait, 0.0)
        self._child(m.requests, record.route, model, str(record.status), cache).inc()
        self._child(m.request_duration, record.route, model, cache).observe(duration)
        if record.cache is not None:
            m.overhead.observe(overhead)
            if record.first_byte is not None:
                self._child(m.time_to_first_token, model, cache).observe(record.first_byte - record.started)
            self._tokens(record, model)
        self._line(record, duration, overhead)

    def _tokens(self, record: Record, model: str) -> None:
        prompt, completion = record.prompt_tokens or 0, record.completion_tokens or 0
        if record.cache in {"HIT", "COALESCED"}:
            self._child(self._metrics.tokens, model, "saved").inc(prompt + completion)
        else:
            self._child(self._metrics.tokens, model, "prompt").inc(prompt)
            self._child(self._metrics.tokens, model, "completion").inc(completion)
            self._child(self._metrics.tokens, model, "image").inc(record.image_tokens)

    def _line(self, record: Record, duration: float, overhead: float) -> None:
        if self._log is None:
            self._log = structlog.get_logger().bind()
        write = self._log.debug if record.route in QUIET else self._log.info
        write(
            "request.finished",
            request_id=record.request_id,
            tenant=record.tenant,
            route=record.route,
            model=record.model,
            status=record.status,
            code=record.code,
            cache=record.cache,
            image_hash=record.image_hash,
            question_hash=record.question_hash,
            images=record.images,
            image_bytes=record.image_bytes,
            prompt_tokens=record.prompt_tokens,
            completion_tokens=record.completion_tokens,
            ttft_ms=_ms(record.first_byte - record.started) if record.first_byte is not None else None,
            duration_ms=_ms(duration),
            overhead_ms=_ms(overhead),
            engine=record.engine,
        )

    def _child(self, family: Any, *labels: str) -> Any:
        key = (family, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = family.labels(*labels)
        return child


def _ms(seconds: float) -> float:
    return round(seconds * 1e3, 3)
