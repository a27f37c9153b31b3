"""The plan's arithmetic, worked by hand; what grows with what; and one line for what makes no sense."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.capacity.figures import Figure, figures
from sightline.capacity.plan import BadDemand, Demand, Plan, plan, waiting

DAY = Demand(pictures_per_day=864_000, peak_factor=10, hit_rate=0.4)  # 100 requests/s at the peak, 60 of them unseen


def value(found: Plan, name: str) -> float:
    return next(line.value for line in found.lines if line.name == name)


def test_the_peak() -> None:
    assert DAY.peak == pytest.approx(100)
    assert Demand(peak_requests_per_second=100, peak_factor=10).a_day == pytest.approx(864_000)


def test_gateway_cores() -> None:
    """CPU of each kind of request, at the picture's size, over the share of a core that is planned with."""
    used = figures()
    hit, unseen = used["cpu.hit"].at(300), used["cpu.unseen"].at(300)

    assert value(plan(DAY), "gateway cores") == pytest.approx((40 * hit + 60 * unseen) / 1e6 / 0.6)


def test_streams_cost_by_the_token() -> None:
    used, all_streamed = figures(), replace(DAY, streamed=1.0, answer_tokens=100)

    added = value(plan(all_streamed), "gateway cores") - value(plan(replace(DAY, answer_tokens=100)), "gateway cores")
    assert added == pytest.approx(100 * 100 * used["cpu.token"].value / 1e6 / 0.6)


def test_redis_holds_an_hour_of_misses_and_a_day_of_pictures() -> None:
    """60 misses/s × 3,600 s of 160 bytes of text each; 60 % of the day's pictures by their identity."""
    used = figures()

    expected = (216_000 * used["redis.answer"].at(0.16) + 518_400 * used["redis.identity"].value) * 1.3 / 2**20
    assert value(plan(DAY), "Redis memory") == pytest.approx(expected)


def test_answers_kept_are_no_more_than_are_given() -> None:
    """A peak does not last the whole of a long TTL."""
    used, week = figures(), replace(DAY, ttl=7 * 86_400)

    expected = (864_000 * 0.6 * 7 * used["redis.answer"].at(0.16) + 518_400 * used["redis.identity"].value) * 1.3 / 2**20
    assert value(plan(week), "Redis memory") == pytest.approx(expected)


def test_redis_commands() -> None:
    used = figures()

    assert value(plan(DAY), "Redis commands") == pytest.approx(40 * used["redis.hit"].value + 60 * used["redis.unseen"].value)


def test_network() -> None:
    """300 kB in base64 and a kilobyte of question, 100 times a second; to the engines, unseen pictures alone."""
    found = plan(DAY)

    assert value(found, "clients to gateways") == pytest.approx(100 * 401_000 * 8 / 1e6)
    assert value(found, "gateways to engines") == pytest.approx((60 * 400_000 + 60 * 1000) * 8 / 1e6)


def test_gpus_as_measured() -> None:
    """60 misses/s over engines of 5/s that are to be 70 % busy: 17.1, so 18."""
    found = plan(replace(DAY, engine_requests_per_second=5, seconds_per_answer=2))

    assert value(found, "engines") == value(found, "GPUs") == 18
    assert value(found, "limits.engine_requests") == 18 * 10 / 2


def test_an_engine_on_several_gpus_counts_them_all() -> None:
    found = plan(replace(DAY, engine_requests_per_second=5, model="GLM-4.6V-FP8", gpu="H100"))

    assert value(found, "GPUs") == 2 * value(found, "engines") == 36


def test_an_estimate_says_so_and_is_counted_by_half() -> None:
    [line] = [line for line in plan(DAY).lines if line.name == "answers of one engine"]

    assert line.how.startswith(f"ESTIMATED, half of {2 * line.value:.3g}: ")


def test_erlang_c() -> None:
    """Two places, 1.5 of them needed: C = 9/14 (Erlang's own formula), and a mean wait of C × held / (places - load)."""
    share, seconds = waiting(arrivals=1.5, rate=1, replicas=2, at_once=1)

    assert share == pytest.approx(9 / 14)
    assert seconds == pytest.approx(9 / 14 / 0.5)


def test_between_and_beyond_measured_sizes() -> None:
    figure = Figure(((0, 100), (100, 200), (1000, 1100)), "µs", "here")

    assert [figure.at(kilobytes) for kilobytes in (0, 50, 100, 550, 1000, 2000)] == [100, 150, 200, 650, 1100, 2100]


@settings(max_examples=30)
@given(st.floats(0, 1), st.floats(0, 1))
def test_more_hits_never_cost_more(one: float, other: float) -> None:
    fewer, more = (plan(replace(DAY, hit_rate=rate)) for rate in sorted((one, other)))

    for name in ("gateway cores", "Redis memory", "Redis commands", "gateways to engines", "GPUs"):
        assert value(more, name) <= value(fewer, name) + 1e-9, name


@settings(max_examples=30)
@given(st.floats(0.01, 1e6), st.floats(1, 100))
def test_more_requests_never_cost_less(peak: float, times: float) -> None:
    small, large = (plan(replace(DAY, pictures_per_day=None, peak_requests_per_second=rate)) for rate in (peak, peak * times))

    for name in ("gateway cores", "gateway pods", "Redis memory", "Redis commands", "GPUs"):
        assert value(large, name) >= value(small, name), name


@pytest.mark.parametrize(
    ("wrong", "flag"),
    [
        ({"hit_rate": 1.2}, "--hit-rate"),
        ({"hit_rate": -0.1}, "--hit-rate"),
        ({"hit_rate": float("nan")}, "--hit-rate"),
        ({"hit_rate": 0.8, "unseen_rate": 0.3}, "--unseen-rate"),
        ({"streamed": 2}, "--streamed"),
        ({"pictures_per_day": -1}, "--pictures-per-day"),
        ({"pictures_per_day": 1e30}, "--pictures-per-day"),
        ({"pictures_per_day": None}, "--pictures-per-day"),
        ({"peak_requests_per_second": 0}, "--peak-requests-per-second"),
        ({"peak_factor": 0.5}, "--peak-factor"),
        ({"picture_kilobytes": 0}, "--picture-kilobytes"),
        ({"answer_tokens": 0}, "--answer-tokens"),
        ({"ttl": -3600}, "--ttl"),
        ({"seconds_per_answer": 0.001}, "--seconds-per-answer"),
        ({"engine_requests_per_second": -5}, "--engine-requests-per-second"),
        ({"utilisation": 1}, "--utilisation"),
        ({"model": "GLM-4.6V-Flas"}, "--model"),
        ({"gpu": "RTX 4091"}, "--gpu"),
        ({"model": "GLM-4.6V", "gpu": "L4"}, "--gpu"),
    ],
)
def test_what_makes_no_sense_is_one_line_that_names_the_flag(wrong: dict[str, object], flag: str) -> None:
    with pytest.raises(BadDemand) as refused:
        plan(replace(DAY, **wrong))  # type: ignore[arg-type]  # of the field's own type, but for what is tried

    assert str(refused.value).startswith(f"{flag}: ")
    assert "\n" not in str(refused.value)


def test_a_near_name_is_offered() -> None:
    with pytest.raises(BadDemand, match=r"the nearest are GLM-4\.6V-Flash"):
        plan(replace(DAY, model="GLM-4.6V-Flas"))
