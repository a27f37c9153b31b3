"""Traces by OpenTelemetry, off unless an endpoint is set: a span for each chat request, and below it one for each stage of it.

A stage is noted on the request's record as it passes, its name and when it began and ended; spans are made of them all at once, when the
request has ended. So a request that is not traced pays for one look at an attribute a stage, and one that is holds nobody up.

Names are those of OpenTelemetry's conventions for generative AI and HTTP (semantic conventions 1.37). No span holds a prompt, an answer,
a key, picture bytes or the query of a URL.
"""

import os
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sightline
from sightline.settings import SettingsError, Traces

if TYPE_CHECKING:
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import Tracer

Stage = tuple[str, float, float, Mapping[str, Any]]


class Trace:
    """One traced request. `parent` is the header that makes an engine's spans children of it."""

    __slots__ = ("_span", "_to_epoch", "_tracer", "parent", "stages", "trace_id")

    def __init__(self, tracer: "Tracer", traceparent: str | None, started: float) -> None:
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._tracer = tracer
        self._to_epoch = time.time_ns() - int(time.perf_counter() * 1e9)
        context = TraceContextTextMapPropagator().extract({"traceparent": traceparent} if traceparent else {})
        self._span = tracer.start_span("POST /v1/chat/completions", context=context, kind=SpanKind.SERVER, start_time=self._at(started))
        found = self._span.get_span_context()
        self.trace_id = f"{found.trace_id:032x}"
        self.parent = f"00-{self.trace_id}-{found.span_id:016x}-{found.trace_flags:02x}"
        self.stages: list[Stage] = []

    def note(self, name: str, began: float, **attributes: Any) -> None:
        """A stage that began at `began` (`time.perf_counter`) and has just ended."""
        self.stages.append((name, began, time.perf_counter(), attributes))

    def end(self, attributes: Mapping[str, Any], *, first_byte: float | None, last_byte: float | None, failed: str | None) -> None:
        """Sends it. `failed` is the code of an error that was not the caller's, or that ended a stream; times are `time.perf_counter`'s."""
        from opentelemetry.trace import SpanKind, Status, StatusCode, set_span_in_context

        self._span.set_attributes({name: value for name, value in attributes.items() if value is not None})
        within = set_span_in_context(self._span)
        for name, began, ended, noted in self.stages:
            kind = SpanKind.CLIENT if name.startswith("chat ") else SpanKind.INTERNAL
            stage = self._tracer.start_span(name, context=within, kind=kind, start_time=self._at(began), attributes=dict(noted))
            if kind is SpanKind.CLIENT and first_byte is not None and last_byte is not None:
                stage.add_event("gen_ai.first_token", timestamp=self._at(first_byte))
                stage.end(self._at(max(ended, last_byte)))
            else:
                stage.end(self._at(ended))
        if failed is not None:
            self._span.set_status(Status(StatusCode.ERROR, failed))
        self._span.end()

    def _at(self, moment: float) -> int:
        return self._to_epoch + int(moment * 1e9)


class Tracing:
    """Begins traces and sends them. Raises SettingsError when the extra is not installed. `exporter` is the endpoint's unless given."""

    def __init__(self, settings: Traces, endpoint: str, exporter: "SpanExporter | None" = None) -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace import TracerProvider
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.trace.sampling import ParentBasedTraceIdRatio
        except ImportError:
            raise SettingsError("traces.endpoint: traces need OpenTelemetry; install it with `pip install 'sightline[otel]'`") from None
        resource = Resource.create({"service.name": "sightline", "service.version": sightline.__version__})
        self._provider = TracerProvider(resource=resource, sampler=ParentBasedTraceIdRatio(settings.share))
        self._provider.add_span_processor(BatchSpanProcessor(exporter or OTLPSpanExporter(endpoint=endpoint)))
        self._tracer = self._provider.get_tracer("sightline", sightline.__version__)

    def begin(self, traceparent: str | None, started: float) -> Trace:
        """The trace of a request that began at `started` (`time.perf_counter`), as a child of the caller's span if he named one."""
        return Trace(self._tracer, traceparent, started)

    def close(self) -> None:
        """Sends what is left."""
        self._provider.shutdown()


def open_tracing(settings: Traces, environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """None where no endpoint is set: here, or by OpenTelemetry's own variables. Raises SettingsError."""
    base = environ.get("OTEL_EXPORTER_OTLP_ENDPOINT", "").rstrip("/")
    endpoint = settings.endpoint or environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or (f"{base}/v1/traces" if base else None)
    return Tracing(settings, endpoint) if endpoint else None
