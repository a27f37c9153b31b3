"""Every metric series, in one place: prefix `sightline_`, base units, bounded labels.

One `Metrics` a process, built by the app and handed down; nothing registers at import. Children are looked up once and kept, since
`.labels()` costs as much as the observation. Labels come from small closed sets: never a key, user, tenant or hash.
"""

import platform

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector

import sightline
from sightline.telemetry.series import Counter, Histogram

# vLLM's own buckets for time to first token, so that panels can lay one over the other (vllm/v1/metrics/loggers.py).
TTFT_BUCKETS = (
    0.001,
    0.005,
    0.01,
    0.02,
    0.04,
    0.06,
    0.08,
    0.1,
    0.25,
    0.5,
    0.75,
    1.0,
    2.5,
    5.0,
    7.5,
    10.0,
    20.0,
    40.0,
    80.0,
    160.0,
    640.0,
    2560.0,
)
ITL_BUCKETS = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0)
DURATION_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
SMALL_BUCKETS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Metrics:
    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        ProcessCollector(registry=self.registry)  # CPU, memory, open files: read when they are asked for

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"sightline_{name}", text, labels, self.registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"sightline_{name}", text, labels, registry=self.registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...], *labels: str) -> Histogram:
            return Histogram(f"sightline_{name}", text, labels, buckets, self.registry)

        self.requests = counter("requests_total", "Requests finished.", "route", "model", "status", "cache")
        self.request_duration = histogram(
            "request_duration_seconds", "From a request's first byte to its answer's last.", DURATION_BUCKETS, "route", "model", "cache"
        )
        self.time_to_first_token = histogram(
            "time_to_first_token_seconds", "From a request's first byte to the first byte of its answer.", TTFT_BUCKETS, "model", "cache"
        )
        self.inter_token_latency = histogram(
            "inter_token_latency_seconds", "Between the chunks of a streamed answer.", ITL_BUCKETS, "model"
        )
        self.engine_duration = histogram(
            "engine_duration_seconds", "From asking an engine to its answer's last byte.", DURATION_BUCKETS, "engine", "model"
        )
        self.overhead = histogram(
            "overhead_seconds", "What the gateway itself added to a request: its time less the engine's and the client's.", SMALL_BUCKETS
        )
        self.cache_requests = counter("cache_requests_total", "Requests by what the result cache did for them.", "result")
        self.coalesced = counter("coalesced_total", "Requests that shared another's engine call.")
        self.tokens = counter(
            "tokens_total", "Tokens by kind: prompt, completion, image, and saved by hits and shared calls.", "model", "kind"
        )
        self.engine_seconds_saved = counter(
            "engine_seconds_saved_total",
            "Seconds of engines that hits and shared calls did not take, as far as the model's other answers lately tell.",
            "model",
        )
        self.image_bytes = histogram("image_bytes", "Encoded size of pictures as sent.", (1e3, 1e4, 3e4, 1e5, 3e5, 1e6, 3e6, 1e7, 2.1e7))
        self.image_pixels = histogram("image_pixels", "Pixels of pictures as sent.", (1e4, 1e5, 2.5e5, 1e6, 2e6, 4e6, 8e6, 1.6e7, 3.3e7))
        self.image_prepare = histogram("image_prepare_seconds", "Time to open, prepare and encode one picture.", SMALL_BUCKETS)
        self.image_fetch = counter("image_fetch_total", "Pictures fetched by URL, by outcome.", "result")
        self.image_rejected = counter("image_rejected_total", "Pictures refused, by error code.", "code")
        self.rate_limited = counter("rate_limited_total", "Requests refused by a limit.", "kind")
        self.shed = counter("shed_total", "Requests sent away because there was too much to do, by what there was too much of.", "reason")
        self.engine_waiting = gauge("engine_waiting_requests", "Requests that wait for a place at the engines.")
        self.engine_limit = gauge("engine_limit", "Places at the engines, as the adaptive limit or the setting has it.")
        self.limits_local = counter("limits_local_total", "Limit checks against this replica's own share, since Redis did not answer.")
        self.key_file_reloads = counter("key_file_reloads_total", "Times the key file was read anew, by outcome: ok or refused.", "result")
        self.backend_errors = counter("backend_errors_total", "Failures of what the gateway depends on.", "backend", "operation")
        self.backend_breaker = gauge("backend_breaker_state", "0 closed, 1 half open, 2 open.", "backend")
        self.replicas = gauge("replicas", "Gateways that share this one's store, itself included.")
        self.engine_up = gauge("engine_up", "1 while an engine's health check passes.", "engine")
        self.engine_retries = counter("engine_retries_total", "Requests asked again of an engine.", "reason")
        self.drain_started = gauge("drain_started_timestamp_seconds", "When the process was told to drain, or 0.")
        self.log_lines_dropped = counter("log_lines_dropped_total", "Log lines that could not be written.")
        self.build = gauge("build_info", "Always 1; what runs here.", "version", "python")
        self.build.labels(sightline.__version__, platform.python_version()).set(1)
        self.in_flight_requests = gauge("in_flight_requests", "Requests being answered.")
        self.in_flight_bytes = gauge("in_flight_bytes", "Bytes of request bodies being held.")
        self.client_disconnects = counter("client_disconnects_total", "Clients that left before their answer was complete.")
        self.event_loop_lag = histogram("event_loop_lag_seconds", "How late the event loop runs a timer.", SMALL_BUCKETS)
