"""When a breaker opens, who may try, and how soon it closes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.breaker import Breaker, State


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker(failures=3, first_delay=1.0, longest_delay=4.0)
    for _ in range(3):
        breaker.failed(now)
    return breaker


def test_it_opens_after_failures_in_a_row() -> None:
    """Two failures do nothing, a success forgets them, and the third in a row opens it."""
    breaker = Breaker(failures=3)
    for outcome in (breaker.failed, breaker.failed):
        outcome(0.0)
    breaker.succeeded()
    for _ in range(2):
        breaker.failed(0.0)
        assert breaker.allows(0.0)
    breaker.failed(0.0)
    assert breaker.state is State.OPEN
    assert not breaker.allows(0.0)


def test_one_trial_at_a_time() -> None:
    """After the delay exactly one caller may try; the next only after its verdict."""
    breaker = opened()
    assert not breaker.allows(0.99)
    assert [breaker.allows(1.0) for _ in range(3)] == [True, False, False]
    assert breaker.state is State.HALF_OPEN


def test_a_successful_trial_closes_it() -> None:
    """One success and everybody may ask; it takes as many failures as at first to open it again, for the first delay."""
    breaker = opened()
    breaker.allows(1.0)
    breaker.failed(1.0)
    breaker.allows(3.0)
    breaker.succeeded()
    assert breaker.state is State.CLOSED
    for _ in range(3):
        assert breaker.allows(3.0)
        breaker.failed(3.0)
    assert breaker.retry_at == 4.0


def test_the_delay_doubles_up_to_the_longest() -> None:
    """Each failed trial puts the next one off for twice as long, and never for longer than the longest delay."""
    breaker = opened()
    delays = []
    for _ in range(5):
        now = breaker.retry_at
        assert breaker.allows(now)
        breaker.failed(now)
        delays.append(breaker.retry_at - now)
    assert delays == [2.0, 4.0, 4.0, 4.0, 4.0]


@pytest.mark.parametrize("outcome", ["succeeded", "failed"])
def test_late_outcomes_change_nothing(outcome: str) -> None:
    """What was asked before it opened says nothing about now."""
    breaker = opened()
    if outcome == "succeeded":
        breaker.succeeded()
    else:
        breaker.failed(0.9)
    assert breaker.state is State.OPEN
    assert breaker.retry_at == 1.0


def test_a_trial_without_a_verdict_leaves_room_for_the_next() -> None:
    """A cancelled trial does not keep the breaker half open for ever."""
    breaker = opened()
    breaker.allows(1.0)
    breaker.abandoned(1.5)
    assert breaker.allows(1.5)


@given(st.lists(st.tuples(st.sampled_from(["ask", "succeed", "fail", "abandon"]), st.floats(0, 10))))
def test_it_can_always_heal(steps: list[tuple[str, float]]) -> None:
    """Whatever has happened, within the longest delay after the last verdict somebody may try, and a success closes it."""
    breaker = Breaker(failures=2, first_delay=0.5, longest_delay=4.0)
    now = 0.0
    for step, pause in steps:
        now += pause
        if step == "ask":
            breaker.allows(now)
        elif step == "succeed":
            breaker.succeeded()
        elif step == "fail":
            breaker.failed(now)
        else:
            breaker.abandoned(now)
    breaker.abandoned(now)
    assert breaker.allows(now + 4.0)
    breaker.succeeded()
    assert breaker.state is State.CLOSED
