"""Limits as a client reads them: OpenAI's headers, Go's durations, a 429 that says what to do."""

import pytest

from sightline.limits.gcra import EMPTY, Level, Rate
from sightline.limits.quotas import Charge, Kind, MemoryQuotas, Order, Slot, Taken, Whose, judged
from sightline.limits.verdict import Verdict, go_duration

NOW = 1_800_000_000.0 - 1_800_000_000.0 % 86_400 + 43_200  # noon UTC


def charge(kind: Kind = "requests", limit: int = 60, cost: int = 1, *, whose: Whose = "key", day: bool = False) -> Charge:
    return Charge(f"{whose}:{kind}:{day}", kind, whose, Rate(limit, 86_400.0 if day else 60.0, day), cost, on_hit=True)


def verdict(*pairs: tuple[Charge, Level], slots: tuple[Slot, ...] = (), held: tuple[int, ...] = ()) -> Verdict:
    order = Order([charge for charge, _ in pairs], slots)
    levels = [level for _, level in pairs]
    fits = all(level.used + charge.cost <= charge.rate.limit for charge, level in pairs)
    admitted = fits and all(count < slot.limit for count, slot in zip(held, slots, strict=True))
    decisions = judged(order, levels, NOW, admitted=admitted)
    return Verdict(Taken(admitted, order, MemoryQuotas(), None, decisions, list(held)))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, b"0s"),
        (0.0000001, b"1ms"),
        (0.25, b"250ms"),
        (0.9991, b"1s"),
        (1, b"1s"),
        (1.5, b"1.5s"),
        (8.64, b"8.64s"),
        (59.9999, b"1m0s"),
        (60, b"1m0s"),
        (90.951, b"1m30.951s"),
        (360, b"6m0s"),
        (3600, b"1h0m0s"),
        (86_400, b"24h0m0s"),
        (float("inf"), b"24h0m0s"),
        (-1, b"0s"),
    ],
)
def test_durations_are_go_s(seconds: float, text: bytes) -> None:
    assert go_duration(seconds) == text


def test_each_kind_of_limit_has_its_three_headers() -> None:
    headers = dict(verdict((charge(), EMPTY), (charge("tokens", 1000, 250), EMPTY), (charge("images", 10, 2), EMPTY)).headers())

    assert headers == {
        b"x-ratelimit-limit-requests": b"60",
        b"x-ratelimit-remaining-requests": b"59",
        b"x-ratelimit-reset-requests": b"1s",
        b"x-ratelimit-limit-tokens": b"1000",
        b"x-ratelimit-remaining-tokens": b"750",
        b"x-ratelimit-reset-tokens": b"15s",
        b"x-ratelimit-limit-images": b"10",
        b"x-ratelimit-remaining-images": b"8",
        b"x-ratelimit-reset-images": b"12s",
    }


def test_a_caller_without_limits_has_no_headers() -> None:
    assert verdict().headers() == ()


def test_of_two_limits_on_one_kind_the_one_with_least_left_is_shown() -> None:
    headers = dict(verdict((charge(limit=60), EMPTY), (charge(limit=100, whose="tenant"), Level(80, NOW))).headers())

    assert headers[b"x-ratelimit-limit-requests"] == b"100"
    assert headers[b"x-ratelimit-remaining-requests"] == b"19"


def test_a_refusal_is_429_with_the_wait_and_the_headers() -> None:
    refusal = verdict((charge(), Level(60, NOW)), (charge("tokens", 1000, 250), EMPTY)).refusal()

    assert refusal is not None
    assert (refusal.status, refusal.code, refusal.retry_after, refusal.should_retry) == (429, "rate_limit_exceeded", 1.0, None)
    assert "60 requests a minute for this key" in refusal.message
    assert "Try again in 1s" in refusal.message
    assert (b"x-ratelimit-remaining-requests", b"0") in refusal.headers
    assert (b"x-ratelimit-remaining-tokens", b"1000") in refusal.headers


def test_a_wait_is_never_said_to_be_longer_than_two_minutes() -> None:
    refusal = verdict((charge("tokens", 100, 100), Level(1000, NOW))).refusal()

    assert refusal is not None
    assert refusal.retry_after == 120.0


def test_an_exhausted_day_is_not_to_be_retried() -> None:
    refusal = verdict((charge("tokens", 100, 50, day=True), Level(100, NOW))).refusal()

    assert refusal is not None
    assert (refusal.should_retry, refusal.retry_after) == (False, 120.0)
    assert "Try again in 12h0m0s" in refusal.message


@pytest.mark.parametrize(("limit", "advice"), [(100, "Ask for less at once"), (0, "Ask the operator")])
def test_what_can_never_fit_says_so(limit: int, advice: str) -> None:
    refusal = verdict((charge("tokens", limit, 101), EMPTY)).refusal()

    assert refusal is not None
    assert refusal.should_retry is False
    assert advice in refusal.message


def test_too_many_at_once_has_its_own_code() -> None:
    refused = verdict((charge(), EMPTY), slots=(Slot("s", "tenant", 2, "me", 30.0),), held=(2,))

    refusal = refused.refusal()
    assert refusal is not None
    assert (refusal.code, refusal.retry_after) == ("concurrency_limit_exceeded", 1.0)
    assert refused.refused_kind() == "concurrency"
