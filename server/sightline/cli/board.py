"""What `sightline top` shows: one value made from two readings of a gateway's metrics. Pure; `screen` draws it."""

from dataclasses import dataclass

from sightline.telemetry.readings import Change

CHAT = "/v1/chat/completions"
SOURCES = ("hit", "coalesced", "miss", "bypass")  # what the cache did for a request, the cheapest first
_BREAKER = {0.0: "up", 1.0: "being tried", 2.0: "down"}


@dataclass(frozen=True, slots=True)
class Spread:
    """Percentiles in seconds; None where nothing was observed."""

    p50: float | None
    p95: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Engine:
    """`busy` is the calls it had at once, on average; `latency` of its whole answers."""

    name: str
    up: bool
    calls: float
    busy: float
    latency: Spread


@dataclass(frozen=True, slots=True)
class Saved:
    """What hits and shared calls made unnecessary: a second, and since the gateway started. None: the gateway does not say."""

    rate: float | None
    total: float | None


@dataclass(frozen=True, slots=True)
class Board:
    """Rates are a second, times seconds, over the `seconds` between the readings."""

    seconds: float
    version: str | None
    draining: float | None  # seconds since SIGTERM
    # requests
    statuses: dict[str, float]  # chat requests by what became of them: see `_statuses`
    in_flight: float
    held_bytes: float
    # cache
    sources: dict[str, float]  # by SOURCES
    saved_tokens: Saved
    saved_seconds: Saved  # of engines' time
    # latency
    first_token: Spread
    first_token_hits: Spread
    whole: Spread
    between_tokens: Spread
    overhead: Spread
    # engines
    engines: tuple[Engine, ...]
    waiting: float | None
    places: float | None  # at the engines, as the adaptive or fixed limit has it; None: as many as come
    retries: float
    engine_errors: float
    # limits
    limited: dict[str, float]  # by kind
    shed: dict[str, float]  # by reason
    # store
    store: str  # "memory", "up", "being tried", "down"
    store_errors: float
    local_limits: float
    replicas: float | None
    # pictures
    pictures: float
    picture_bytes: float
    prepare: Spread
    fetches: dict[str, float]  # by result
    rejected: dict[str, float]  # by code
    # process
    loop_lag: Spread
    cpu: float | None  # cores
    resident: float | None
    dropped_lines: float

    @property
    def requests(self) -> float:
        return sum(self.statuses.values())

    @property
    def reused(self) -> float:
        """Requests answered without an engine call of their own."""
        return self.sources["hit"] + self.sources["coalesced"]

    @property
    def hit_rate(self) -> float | None:
        asked = sum(self.sources.values())
        return self.reused / asked if asked else None

    @property
    def engines_up(self) -> int:
        return sum(engine.up for engine in self.engines)


def make(change: Change, now: float) -> Board:
    """`now` in seconds since the epoch, as the gateway tells when it began to drain."""
    after = change.after
    version = next((labels.get("version") for labels, _ in after.each("build_info")), None)
    drain = after.value("drain_started_timestamp_seconds") or 0.0
    sources = change.rates_by("cache_requests_total", "result")
    breaker = after.value("backend_breaker_state", backend="redis")
    places = after.value("engine_limit")
    return Board(
        seconds=change.seconds,
        version=version,
        draining=max(now - drain, 0.0) if drain else None,
        statuses=_statuses(change.rates_by("requests_total", "status", route=CHAT)),
        in_flight=after.value("in_flight_requests") or 0.0,
        held_bytes=after.value("in_flight_bytes") or 0.0,
        sources={name: sources.get(name, 0.0) for name in SOURCES},
        saved_tokens=_saved(change, "tokens_total", kind="saved"),
        saved_seconds=_saved(change, "engine_seconds_saved_total"),
        first_token=_spread(change, "time_to_first_token_seconds"),
        first_token_hits=_spread(change, "time_to_first_token_seconds", cache="HIT"),
        whole=_spread(change, "request_duration_seconds", route=CHAT),
        between_tokens=_spread(change, "inter_token_latency_seconds"),
        overhead=_spread(change, "overhead_seconds"),
        engines=_engines(change),
        waiting=after.value("engine_waiting_requests"),
        places=places if places is not None and places < float("inf") else None,
        retries=change.rate("engine_retries_total"),
        engine_errors=change.rate("backend_errors_total", backend="engine"),
        limited=_present(change.rates_by("rate_limited_total", "kind")),
        shed=_present(change.rates_by("shed_total", "reason")),
        store="memory" if breaker is None else _BREAKER.get(breaker, "down"),
        store_errors=change.rate("backend_errors_total", backend=lambda name: name != "engine"),
        local_limits=change.rate("limits_local_total"),
        replicas=after.value("replicas"),
        pictures=change.rate("image_bytes_count"),
        picture_bytes=change.rate("image_bytes_sum"),
        prepare=_spread(change, "image_prepare_seconds"),
        fetches=_present(change.rates_by("image_fetch_total", "result")),
        rejected=_present(change.rates_by("image_rejected_total", "code")),
        loop_lag=_spread(change, "event_loop_lag_seconds"),
        cpu=change.rate("process_cpu_seconds_total") if after.value("process_cpu_seconds_total") is not None else None,
        resident=after.value("process_resident_memory_bytes"),
        dropped_lines=change.rate("log_lines_dropped_total"),
    )


def _statuses(rates: dict[str, float]) -> dict[str, float]:
    """What became of them: answered (2xx), refused (4xx), limited (429), failed (5xx), left (499, the client)."""
    found = dict.fromkeys(("answered", "refused", "limited", "failed", "left"), 0.0)
    words = {"429": "limited", "499": "left", "2": "answered", "4": "refused", "5": "failed"}
    for status, rate in rates.items():
        found[words.get(status) or words.get(status[:1], "failed")] += rate
    return found


def _engines(change: Change) -> tuple[Engine, ...]:
    return tuple(
        Engine(
            name=name,
            up=up == 1,
            calls=change.rate("engine_duration_seconds_count", engine=name),
            busy=change.rate("engine_duration_seconds_sum", engine=name),
            latency=_spread(change, "engine_duration_seconds", engine=name),
        )
        for name, up in sorted((labels["engine"], value) for labels, value in change.after.each("engine_up"))
    )


def _spread(change: Change, name: str, **wanted: str) -> Spread:
    return Spread(*(change.quantile(q, name, **wanted) for q in (0.5, 0.95, 0.99)))


def _saved(change: Change, name: str, **wanted: str) -> Saved:
    total = change.after.value(name, **wanted)
    return Saved(None if total is None else change.rate(name, **wanted), total)


def _present(rates: dict[str, float]) -> dict[str, float]:
    """The largest first; what did not happen is not told."""
    return {name: rate for name, rate in sorted(rates.items(), key=lambda item: -item[1]) if rate > 0}
