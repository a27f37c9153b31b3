"""What `sightline top` shows is what happened between two looks at a gateway's metrics."""

from typing import Any

import pytest
from tests.exposition import exposed

from sightline.cli.board import Board, Saved, make
from sightline.cli.screen import line
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.readings import Change, Reading

CHAT = "/v1/chat/completions"
SECONDS = 10.0


@pytest.fixture
def metrics() -> Metrics:
    metrics = Metrics()
    for result in ("hit", "miss", "bypass", "coalesced"):
        metrics.cache_requests.labels(result)
    for engine in ("gpu1:8000", "gpu2:8000"):
        metrics.engine_up.labels(engine).set(1)
    return metrics


def between(metrics: Metrics, happen: Any, more: str = "") -> Board:
    """The board of a gateway to which `happen` happened within ten seconds; `more` are lines of the second look."""
    before = Reading.parse(exposed(metrics), 100.0)
    happen(metrics)
    return make(Change(before, Reading.parse(exposed(metrics) + more, 100.0 + SECONDS)), now=1_000_000.0)


def nothing(_: Metrics) -> None:
    """A quiet gateway."""


def traffic(metrics: Metrics) -> None:
    for status, count in {"200": 60, "400": 10, "429": 20, "502": 5, "499": 5}.items():
        metrics.requests.labels(CHAT, "m", status, "MISS").inc(count)
    metrics.requests.labels("/health/live", "other", "200", "none").inc(1000)
    for result, count in {"hit": 30, "coalesced": 10, "miss": 50, "bypass": 10}.items():
        metrics.cache_requests.labels(result).inc(count)
    metrics.tokens.labels("m", "saved").inc(5000)
    for _ in range(10):
        metrics.time_to_first_token.labels("m", "MISS").observe(0.09)
        metrics.engine_duration.labels("gpu1:8000", "m").observe(2.0)
    metrics.image_bytes.observe(2_000_000)
    metrics.rate_limited.labels("tokens").inc(20)


def test_a_quiet_gateway_shows_noughts_and_no_percentiles(metrics: Metrics) -> None:
    board = between(metrics, nothing)

    assert (board.requests, board.hit_rate, board.first_token.p95) == (0.0, None, None)
    assert board.engines_up == len(board.engines) == 2
    assert line(board).startswith("0 req/s · reused - · ttft p50 – p95 –")


def test_requests_are_those_to_the_chat_route_by_what_became_of_them(metrics: Metrics) -> None:
    board = between(metrics, traffic)

    assert board.requests == 10.0
    assert board.statuses == {"answered": 6.0, "refused": 1.0, "limited": 2.0, "failed": 0.5, "left": 0.5}


def test_hits_and_shared_calls_are_what_needed_no_engine(metrics: Metrics) -> None:
    board = between(metrics, traffic)

    assert (board.hit_rate, board.reused) == (0.4, 4.0)
    assert (board.saved_tokens.rate, board.saved_tokens.total) == (500.0, 5000.0)


def test_engines_have_their_own_calls_and_load(metrics: Metrics) -> None:
    """Ten calls of two seconds in ten seconds: one a second, two at once."""
    first, second = between(metrics, traffic).engines

    assert (first.name, first.up, first.calls, first.busy) == ("gpu1:8000", True, 1.0, 2.0)
    assert first.latency.p50 is not None
    assert 1.0 < first.latency.p50 <= 2.5
    assert (second.calls, second.busy, second.latency.p50) == (0.0, 0.0, None)


def test_pictures_limits_and_redis_are_told(metrics: Metrics) -> None:
    metrics.backend_breaker.labels("redis").set(2)
    board = between(metrics, traffic)

    assert (board.pictures, board.picture_bytes) == (0.1, 200_000.0)
    assert board.limited == {"tokens": 2.0}
    assert (board.store, board.shed) == ("down", {})


def test_without_redis_the_store_is_its_own_memory(metrics: Metrics) -> None:
    assert between(metrics, nothing).store == "memory"


def test_draining_is_told_with_its_seconds(metrics: Metrics) -> None:
    board = between(metrics, nothing, "sightline_drain_started_timestamp_seconds 999988\n")

    assert board.draining == 12
    assert line(board).endswith("draining 12 s")
    assert between(metrics, nothing, "sightline_drain_started_timestamp_seconds 0\n").draining is None


def test_engine_time_saved_is_told_of_all_models(metrics: Metrics) -> None:
    series = 'sightline_engine_seconds_saved_total{{model="{}"}} {}\n'

    assert between(metrics, nothing, series.format("a", 20) + series.format("b", 10)).saved_seconds == Saved(3.0, 30.0)
