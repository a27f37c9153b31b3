"""An engine that fails is left alone and tried again; retries never amplify an outage. Time is given, never waited for."""

from hypothesis import given
from hypothesis import strategies as st

from sightline.engines.health import CONSECUTIVE, PAUSE, Health, RetryBudget


def failed(health: Health, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        health.asked(now)
        health.failed(now)


def test_five_failures_in_a_row_eject() -> None:
    health = Health()
    failed(health, CONSECUTIVE - 1)
    assert health.may_ask(0)
    failed(health, 1)
    assert not health.may_ask(0)


def test_half_of_twenty_eject_though_none_follow_each_other() -> None:
    health = Health()
    for number in range(20):
        health.asked(number * 0.1)
        health.failed(number * 0.1) if number % 2 else health.succeeded(number * 0.1)
    assert health.ejected


def test_failures_of_long_ago_do_not_count() -> None:
    health = Health()
    for number in range(40):
        health.asked(number)
        health.failed(number) if number % 2 else health.succeeded(number)
    assert not health.ejected


def test_after_the_pause_one_probe_goes_through_and_no_second() -> None:
    health = Health()
    failed(health, CONSECUTIVE)
    assert not health.may_ask(PAUSE - 0.1)
    assert health.may_ask(PAUSE)
    health.asked(PAUSE)
    assert not health.may_ask(PAUSE)


def test_a_probe_that_succeeds_brings_the_engine_back_and_one_that_fails_does_not() -> None:
    health = Health()
    failed(health, CONSECUTIVE)
    failed(health, 1, PAUSE)
    assert not health.may_ask(PAUSE + 1)
    health.asked(2 * PAUSE)
    health.succeeded(2 * PAUSE)
    assert health.may_ask(2 * PAUSE)


def test_a_probe_whose_caller_left_is_given_to_the_next() -> None:
    health = Health()
    failed(health, CONSECUTIVE)
    health.asked(PAUSE)
    health.abandoned()
    assert health.may_ask(PAUSE)


@given(st.lists(st.floats(0, 0.05), min_size=50, max_size=400))
def test_at_most_a_fifth_of_a_busy_gateways_requests_are_retried(gaps: list[float]) -> None:
    budget, now, retried = RetryBudget(), 0.0, 0
    for gap in gaps:
        now += gap
        budget.request()
        retried += budget.take(now)
    assert retried <= 0.2 * len(gaps) + 3.0 * (now + 1)


def test_a_quiet_gateway_may_still_retry() -> None:
    budget = RetryBudget()
    assert [budget.take(float(second)) for second in range(100, 110)] == [True] * 10
