"""Two readings of a gateway's metrics give what Prometheus would say of the time between: rates, sums, percentiles."""

import pytest
from tests.exposition import exposed

from sightline.telemetry.metrics import Metrics
from sightline.telemetry.readings import Change, NotMetrics, Reading

HISTOGRAM = """
sightline_in_flight_requests 3
sightline_x_seconds_bucket{{model="a",le="0.1"}} {0}
sightline_x_seconds_bucket{{model="a",le="1.0"}} {1}
sightline_x_seconds_bucket{{model="a",le="+Inf"}} {2}
"""


def reading(text: str, at: float = 0.0) -> Reading:
    return Reading.parse(text, at)


def requests(count: int, at: float, status: str = "200") -> Reading:
    return reading(f'sightline_requests_total{{route="/v1/chat/completions",status="{status}"}} {count}\n', at)


def histogram(*counts: int) -> Reading:
    return reading(HISTOGRAM.format(*counts))


def test_a_rate_is_what_was_added_a_second() -> None:
    change = Change(requests(100, at=5.0), requests(130, at=15.0))

    assert change.rate("requests_total") == 3.0
    assert change.rates_by("requests_total", "status") == {"200": 3.0}
    assert change.rate("requests_total", status="500") == 0.0
    assert change.rate("nothing_of_that_name") == 0.0


def test_a_series_that_is_new_counts_from_nought() -> None:
    change = Change(requests(100, at=0.0), requests(30, at=10.0, status="500"))

    assert change.rates_by("requests_total", "status") == {"500": 3.0}


def test_a_counter_that_has_fallen_was_started_anew() -> None:
    before, after = requests(100, at=0.0), requests(20, at=10.0)

    assert after.restarted_since(before)
    assert not before.restarted_since(before)
    assert Change(before, after).rate("requests_total") == 2.0


def test_a_gauge_that_has_fallen_was_not() -> None:
    before, after = (reading(f"sightline_in_flight_requests {value}\n") for value in (5, 1))

    assert not after.restarted_since(before)
    assert after.value("in_flight_requests") == 1
    assert after.value("in_flight_bytes") is None


@pytest.mark.parametrize(
    ("q", "counts", "expected"),
    [
        pytest.param(0.5, (10, 10, 10), 0.05, id="in the middle of the first bucket"),
        pytest.param(0.5, (0, 10, 10), 0.55, id="in the middle of the second"),
        pytest.param(0.25, (5, 10, 10), 0.05, id="in one of two"),
        pytest.param(0.99, (0, 0, 10), 1.0, id="beyond all buckets: the last bound"),
        pytest.param(0.5, (0, 0, 0), None, id="nothing was observed"),
    ],
)
def test_a_percentile_is_interpolated_within_its_bucket(q: float, counts: tuple[int, int, int], expected: float | None) -> None:
    """Of the observations between the readings alone: what was there before has no part in it."""
    before = histogram(1000, 1000, 1000)
    after = histogram(*(1000 + count for count in counts))

    assert Change(before, after).quantile(q, "x_seconds") == (None if expected is None else pytest.approx(expected))


def test_percentiles_of_several_series_are_of_all_their_observations() -> None:
    text = HISTOGRAM + HISTOGRAM.replace('"a"', '"b"')
    before, after = reading(text.format(0, 0, 0)), reading(text.format(4, 8, 8))

    assert Change(before, after).quantile(0.5, "x_seconds") == pytest.approx(0.1)
    assert Change(before, after).quantile(0.5, "x_seconds", model="c") is None


def test_a_gateway_s_own_exposition_is_understood() -> None:
    metrics = Metrics()
    metrics.requests.labels("/v1/chat/completions", 'a"b\\c\nd', "200", "HIT").inc(2)
    metrics.overhead.observe(0.004)

    found = reading(exposed(metrics))

    assert [labels["model"] for labels, _ in found.each("requests_total")] == ['a"b\\c\nd']
    assert found.value("requests_total", status=lambda status: status.startswith("2")) == 2
    assert found.value("overhead_seconds_count") == 1


@pytest.mark.parametrize(
    "text", ["<!doctype html>", "", "vllm:num_requests_running 1\n", 'sightline_requests_total{status="200" 1\n', "\x00\x01{{{"]
)
def test_what_are_no_metrics_of_a_gateway_is_said_so(text: str) -> None:
    with pytest.raises(NotMetrics):
        reading(text)
