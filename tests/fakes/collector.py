"""An OTLP collector in the test's process: takes traces over HTTP as protobuf, and holds the spans."""

import gzip
import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from tests.serving import eventually


class Span(NamedTuple):
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began: int
    ended: int
    attributes: Mapping[str, Any]
    events: tuple[str, ...]
    failed: bool


class Collector:
    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.raw = b""

    def __enter__(self) -> Self:
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                collector.take(gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body)
                self.send_response(200)
                self.send_header("content-length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
                """Nobody reads it."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1/traces"

    def take(self, body: bytes) -> None:
        self.raw += body
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            for scope in resource.scope_spans:
                self.spans += [
                    Span(
                        span.name,
                        span.trace_id.hex(),
                        span.span_id.hex(),
                        span.parent_span_id.hex(),
                        span.start_time_unix_nano,
                        span.end_time_unix_nano,
                        {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in span.attributes},
                        tuple(event.name for event in span.events),
                        span.status.code == span.status.STATUS_CODE_ERROR,
                    )
                    for span in scope.spans
                ]

    def trace_of(self, request_id: str) -> tuple[Span, dict[str, Span]]:
        """The request's own span, and those of its stages by name; waits for it."""
        found: list[Span] = []

        def here() -> bool:
            found[:] = [span for span in self.spans if span.attributes.get("sightline.request_id") == request_id]
            return bool(found)

        eventually(here, 10, f"a trace of {request_id}")
        (root,) = found
        return root, {span.name: span for span in self.spans if span.parent_id == root.span_id}
