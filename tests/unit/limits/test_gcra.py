"""What holds of every limit, whatever is asked and whenever."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.limits.gcra import EMPTY, Level, Rate, changed, decide, refilled

NOW = 1_800_000_000.0
DAY = 86_400.0

limits = st.integers(0, 10_000)
costs = st.integers(0, 2_000)
rates = st.builds(Rate, limits, st.sampled_from([1.0, 60.0, DAY]), st.booleans())
levels = st.builds(Level, st.floats(0, 30_000), st.floats(NOW - 2 * DAY, NOW + 2 * DAY))
steps = st.lists(st.tuples(st.floats(0, 30), costs), max_size=60)


@settings(deadline=None)  # the machine may be busy
@given(limits, st.floats(0.1, DAY), steps)
def test_no_more_than_burst_and_rate_is_ever_admitted(limit: int, period: float, steps: list[tuple[float, int]]) -> None:
    """In any stretch of time t that begins anywhere: at most limit + limit·t/period."""
    rate, level, now = Rate(limit, period), EMPTY, NOW
    admitted: list[tuple[float, int]] = []
    for wait, cost in steps:
        now += wait
        decision = decide(rate, level, cost, now)
        level = decision.level
        if decision.admitted:
            admitted.append((now, cost))
    for first, (begin, _) in enumerate(admitted):
        total = 0
        for at, cost in admitted[first:]:
            total += cost
            assert total <= limit + (at - begin) * limit / period + 1e-3


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 10_000), steps)
def test_a_whole_period_never_admits_more_than_the_limit(limit: int, steps: list[tuple[float, int]]) -> None:
    rate, level, now = Rate(limit, 60.0, whole=True), EMPTY, NOW
    admitted: dict[int, int] = {}
    for wait, cost in steps:
        now += wait
        decision = decide(rate, level, cost, now)
        level = decision.level
        if decision.admitted:
            window = int(now // 60)
            admitted[window] = admitted.get(window, 0) + cost
    assert all(total <= limit for total in admitted.values())


@settings(deadline=None)  # the machine may be busy
@given(st.integers(1, 500), st.floats(0, 4e9))
def test_exactly_the_limit_is_admitted_at_once(limit: int, now: float) -> None:
    level, admitted = EMPTY, 0
    for _ in range(limit + 3):
        decision = decide(Rate(limit, 60.0), level, 1, now)
        level, admitted = decision.level, admitted + decision.admitted
    assert admitted == limit


@settings(deadline=None)  # the machine may be busy
@given(rates, levels, costs)
def test_whoever_waits_as_long_as_he_was_told_is_admitted(rate: Rate, level: Level, cost: int) -> None:
    """A millisecond more than the exact figure, as headers round up to."""
    decision = decide(rate, level, cost, NOW)
    if decision.admitted:
        assert decision.retry_after == 0.0
    elif math.isinf(decision.retry_after):
        assert cost > rate.limit
    else:
        assert decide(rate, decision.level, cost, NOW + decision.retry_after + 1e-3).admitted


@settings(deadline=None)  # the machine may be busy
@given(rates.filter(lambda rate: rate.limit > 0), levels)
def test_everything_is_back_at_the_reset(rate: Rate, level: Level) -> None:
    decision = decide(rate, level, 0, NOW)

    assert decision.reset >= 0
    assert decide(rate, decision.level, 0, NOW + decision.reset + 1e-3).remaining == rate.limit


@settings(deadline=None)  # the machine may be busy
@given(rates, levels, costs, st.floats(-2 * 3600, 2 * 3600))
def test_a_clock_that_jumps_makes_no_negative_window_and_no_wait_beyond_what_is_owed(
    rate: Rate, level: Level, cost: int, jump: float
) -> None:
    before = decide(rate, level, cost, NOW)
    after = decide(rate, before.level, cost, NOW + jump)

    assert 0 <= after.remaining <= rate.limit
    assert min(after.reset, after.retry_after) >= 0
    owed = before.level.used + cost
    if rate.limit and not math.isinf(after.retry_after):
        assert after.retry_after <= (math.ceil(owed / rate.limit) + rate.whole) * rate.period + 1e-3


@settings(deadline=None)  # the machine may be busy
@given(rates, levels, costs, costs)
def test_a_reservation_settled_is_as_if_the_real_cost_had_been_taken(rate: Rate, level: Level, reserved: int, real: int) -> None:
    decision = decide(rate, level, reserved, NOW)
    if decision.admitted:
        settled = changed(rate, decision.level, real - reserved, NOW)
        assert settled.used == pytest.approx(refilled(rate, level, NOW).used + real)


@settings(deadline=None)  # the machine may be busy
@given(rates, levels, st.integers(-5_000, 0))
def test_giving_back_never_makes_more_than_the_limit(rate: Rate, level: Level, change: int) -> None:
    assert decide(rate, changed(rate, level, change, NOW), 0, NOW).remaining <= rate.limit


@pytest.mark.parametrize("whole", [False, True])
def test_a_limit_of_zero_admits_nothing_that_costs(whole: bool) -> None:
    rate = Rate(0, 60.0, whole)

    assert not decide(rate, EMPTY, 1, NOW).admitted
    assert decide(rate, EMPTY, 0, NOW).admitted


def test_a_day_comes_back_at_midnight_utc() -> None:
    rate = Rate(100, DAY, whole=True)
    noon = math.floor(NOW / DAY) * DAY + DAY / 2

    spent = decide(rate, EMPTY, 100, noon)
    refused = decide(rate, spent.level, 1, noon)

    assert (refused.admitted, refused.retry_after, refused.reset) == (False, DAY / 2, DAY / 2)
    assert decide(rate, spent.level, 100, noon + DAY / 2).admitted
