"""What a request says about the cache, in its field `cache` or by Cache-Control, is done; what makes no sense is refused."""

from typing import Any

import pytest
from tests.caching import cache, kept_meanwhile, lifetime
from tests.fakes.engine import FakeEngine
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess
from tests.shapes import ask, refusal

Control = tuple[dict[str, Any], dict[str, str] | list[tuple[str, str]]]  # fields of the body, headers
NO_CACHE: dict[str, Control] = {
    "body": ({"cache": {"no-cache": True}}, {}),
    "header": ({}, {"cache-control": "no-cache"}),
    "max-age": ({}, {"cache-control": "max-age=0"}),
}
NO_STORE: dict[str, Control] = {
    "body": ({"cache": {"no-store": True}}, {}),
    "header": ({}, {"cache-control": "private, no-store"}),
    "in two lines": ({}, [("cache-control", "max-age=600"), ("cache-control", "no-store")]),
}


def asked(gateway: GatewayProcess, body: dict[str, Any], control: Control = ({}, {})) -> str:
    fields, headers = control
    return cache(gateway.chat(body | fields, headers=headers))


@pytest.mark.parametrize("control", NO_CACHE.values(), ids=NO_CACHE)
def test_no_cache_asks_again_and_keeps_that(cached: GatewayProcess, engine: FakeEngine, control: Control) -> None:
    body = ask()

    assert [asked(cached, body), asked(cached, body, control), asked(cached, body)] == ["MISS", "MISS", "HIT"]
    assert len(engine.calls) == 2


@pytest.mark.parametrize("control", NO_STORE.values(), ids=NO_STORE)
def test_no_store_keeps_nothing_but_may_be_served(cached: GatewayProcess, control: Control) -> None:
    body = ask()

    assert [asked(cached, body, control), asked(cached, body), asked(cached, body, control)] == ["MISS", "MISS", "HIT"]


def test_both_go_past_the_cache(cached: GatewayProcess) -> None:
    body = ask()
    asked(cached, body)

    assert asked(cached, body, ({"cache": {"no-cache": True, "no-store": True}}, {})) == "BYPASS"


def test_an_answer_young_enough_is_taken(cached: GatewayProcess) -> None:
    body = ask()
    asked(cached, body)

    assert asked(cached, body, ({}, {"cache-control": "max-age=600"})) == "HIT"


@pytest.mark.parametrize(("fields", "seconds"), [({}, 3600), ({"cache": {"ttl": 60}}, 60)], ids=["default", "ttl"])
def test_an_answer_is_kept_for_its_time(cached: GatewayProcess, redis: RedisServer, fields: dict[str, Any], seconds: int) -> None:
    with kept_meanwhile(cached, redis) as kept:
        asked(cached, ask(), (fields, {}))

    (key,) = kept
    assert seconds - 10 < lifetime(redis, key) <= seconds


def test_a_namespace_has_answers_of_its_own(cached: GatewayProcess) -> None:
    body = ask()
    one: Control = ({"cache": {"namespace": "one"}}, {})
    other: Control = ({"cache": {"namespace": "other"}}, {})

    assert [asked(cached, body, where) for where in (one, one, other, ({}, {}))] == ["MISS", "HIT", "MISS", "MISS"]


def test_sampled_answers_are_kept_only_when_asked(cached: GatewayProcess) -> None:
    """Nor are they where a kept one was not asked for."""
    body = ask(temperature=0.7)
    use: Control = ({"cache": {"use": True}}, {})

    assert [asked(cached, body, how) for how in (({}, {}), use, use, ({}, {}))] == ["BYPASS", "MISS", "HIT", "BYPASS"]


@pytest.mark.parametrize("fields", [{"seed": 7, "temperature": 0.7}, {"temperature": 0}], ids=str)
def test_answers_that_come_out_alike_are_kept(cached: GatewayProcess, fields: dict[str, Any]) -> None:
    body = ask(**fields)

    assert [asked(cached, body), asked(cached, body)] == ["MISS", "HIT"]


@pytest.mark.parametrize("fields", [{"n": 2}, {"logprobs": True}], ids=str)
def test_what_cannot_be_told_in_either_form_goes_past(cached: GatewayProcess, fields: dict[str, Any]) -> None:
    body = ask(**fields)

    assert [asked(cached, body), asked(cached, body)] == ["BYPASS", "BYPASS"]


def test_the_engine_hears_nothing_of_it(cached: GatewayProcess, engine: FakeEngine) -> None:
    asked(cached, ask(), ({"cache": {"ttl": 60, "namespace": "x"}}, {"cache-control": "no-store"}))

    call = engine.wait_for_call()
    assert "cache" not in call.json
    assert "cache-control" not in call.headers


WRONG: dict[str, tuple[Any, str, str]] = {
    "no object": (True, "invalid_value", "cache"),
    "unknown": ({"no_cache": True}, "unsupported_parameter", "cache.no_cache"),
    "no-cache of another type": ({"no-cache": 1}, "invalid_value", "cache.no-cache"),
    "ttl 0": ({"ttl": 0}, "invalid_value", "cache.ttl"),
    "ttl over the operator's most": ({"ttl": 86_401}, "invalid_value", "cache.ttl"),
    "ttl as text": ({"ttl": "60"}, "invalid_value", "cache.ttl"),
    "namespace too long": ({"namespace": "x" * 129}, "invalid_value", "cache.namespace"),
    "use as text": ({"use": "yes"}, "invalid_value", "cache.use"),
}


@pytest.mark.parametrize(("value", "code", "param"), WRONG.values(), ids=WRONG)
def test_what_makes_no_sense_is_refused(cached: GatewayProcess, engine: FakeEngine, value: Any, code: str, param: str) -> None:
    assert refusal(cached.chat(ask(cache=value)), 400, code)["param"] == param
    assert engine.calls == []


def test_headers_that_make_no_sense_are_ignored(cached: GatewayProcess) -> None:
    """RFC 9111 §5.2.3: unrecognized directives are; §4.2.1: an age that cannot be read is one that nothing kept is young enough for."""
    body = ask()

    assert [asked(cached, body, ({}, {"cache-control": how})) for how in ("only-if-young, x=1", "=,;", "max-age=soon")] == [
        "MISS",
        "HIT",
        "MISS",
    ]
