"""What a caller may ask of the cache, and what becomes of each request."""

from typing import Any

import pytest

from sightline.answers.controls import Decision, decide
from sightline.errors import InvalidRequest
from sightline.settings import Cache

SETTINGS = Cache(ttl=3600, max_ttl=7200)


def ask(body: dict[str, Any] | None = None, cache: Any = None, header: str | None = None, **settings: Any) -> Decision:
    return decide(body or {}, cache, header, SETTINGS.model_copy(update=settings))


def test_a_plain_request_is_read_and_kept() -> None:
    assert ask() == Decision(read=True, write=True, ttl=3600, namespace="", reason="cacheable")
    assert ask().share


@pytest.mark.parametrize(
    ("when", "body", "kept"),
    [
        ("unless_sampled", {}, True),
        ("unless_sampled", {"temperature": None}, True),
        ("unless_sampled", {"temperature": 0}, True),
        ("unless_sampled", {"temperature": 0.0}, True),
        ("unless_sampled", {"temperature": 0.7}, False),
        ("unless_sampled", {"temperature": 0.7, "seed": 1}, True),
        ("unless_sampled", {"temperature": 0.7, "seed": None}, False),
        ("unless_sampled", {"temperature": "0"}, False),
        ("unless_sampled", {"temperature": False}, False),
        ("deterministic", {}, False),
        ("deterministic", {"temperature": 0}, True),
        ("deterministic", {"seed": 0}, True),
        ("deterministic", {"temperature": 1, "seed": 0}, True),
        ("deterministic", {"temperature": 1}, False),
        ("always", {"temperature": 1}, True),
    ],
)
def test_sampled_answers_are_kept_on_request_only(when: str, body: dict[str, Any], *, kept: bool) -> None:
    decision = ask(body, when=when)
    assert (decision.read, decision.write) == (kept, kept)
    assert decision.reason == ("cacheable" if kept else "sampled")
    assert ask(body, {"use": True}, when=when).share


@pytest.mark.parametrize(
    "body",
    [
        {"n": 2},
        {"n": True},
        {"n": 0},
        {"logprobs": True},
        {"top_logprobs": 0},
        {"prompt_logprobs": 0},
        {"return_token_ids": True},
        {"audio": {}},
    ],
    ids=str,
)
def test_what_is_not_proven_to_fold_is_left_alone(body: dict[str, Any]) -> None:
    """Not even a wish to use the cache changes that."""
    decision = ask(body, {"use": True})
    assert (decision.read, decision.write) == (False, False)
    assert decision.reason in {"choices", "not_folded"}


@pytest.mark.parametrize("body", [{"n": 1}, {"n": None}, {"logprobs": False}, {"logprobs": None}, {"top_logprobs": None}], ids=str)
def test_asking_for_nothing_special_is_nothing_special(body: dict[str, Any]) -> None:
    assert ask(body).share


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"tools": [{}]}, True),
        ({"tools": [{}], "stream": True}, False),
        ({"tools": [{}], "stream": True, "tool_choice": "none"}, True),
        ({"tools": [], "stream": True}, True),
    ],
)
def test_streamed_tool_calls_are_read_but_not_kept(body: dict[str, Any], *, kept: bool) -> None:
    """The engine's streamed tool calls are not proven to fold; what it answered whole may be streamed."""
    assert (ask(body).read, ask(body).write) == (True, kept)


def test_turned_off_is_off() -> None:
    assert ask(cache={"use": True}, enabled=False) == Decision(read=False, write=False, ttl=3600, namespace="", reason="off")


@pytest.mark.parametrize(
    ("cache", "header", "read", "write"),
    [
        ({"no-cache": True}, None, False, True),
        ({"no-store": True}, None, True, False),
        ({"no-cache": True, "no-store": True}, None, False, False),
        ({"no-cache": False}, None, True, True),
        ({"no-cache": None}, None, True, True),
        ({}, None, True, True),
        (None, "no-cache", False, True),
        (None, "No-Store , max-stale=3", True, False),
        (None, "max-age=0", False, True),
        (None, 'max-age="0"', False, True),
        (None, "max-age=soon", False, True),
        (None, "max-age", False, True),
        (None, "max-age=99999999999999999999", False, True),
        (None, "max-age=60", True, True),
        (None, "only-if-cached, whatever=no-cache", True, True),
        ({"no-store": True}, "no-cache", False, False),
        ({"no-cache": False}, "no-cache", False, True),
    ],
)
def test_no_cache_is_not_to_read_and_no_store_not_to_write(cache: Any, header: str | None, *, read: bool, write: bool) -> None:
    """RFC 9111 §5.2.1, for the field and the header alike; where both are given, both hold."""
    decision = ask(cache=cache, header=header)
    assert (decision.read, decision.write) == (read, write)
    assert decision.share == (read and write)


def test_max_age_is_the_oldest_answer_that_will_do() -> None:
    assert ask(header="max-age=60").max_age == 60
    assert ask(header="max-age=60, max-age=5").max_age == 5
    assert ask().max_age is None


def test_ttl_is_the_requests_then_the_keys_then_the_settings() -> None:
    assert ask(cache={"ttl": 60}).ttl == 60
    assert decide({}, {"ttl": 60}, None, SETTINGS, default_ttl=100).ttl == 60
    assert decide({}, None, None, SETTINGS, default_ttl=100).ttl == 100
    assert decide({}, None, None, SETTINGS, default_ttl=10**6).ttl == 7200


def test_a_namespace_is_passed_on() -> None:
    assert ask(cache={"namespace": "night"}).namespace == "night"


@pytest.mark.parametrize(
    ("cache", "param"),
    [
        ({"ttl": 0}, "cache.ttl"),
        ({"ttl": 7201}, "cache.ttl"),
        ({"ttl": "60"}, "cache.ttl"),
        ({"ttl": 60.0}, "cache.ttl"),
        ({"ttl": True}, "cache.ttl"),
        ({"no-cache": "yes"}, "cache.no-cache"),
        ({"no-store": 1}, "cache.no-store"),
        ({"use": []}, "cache.use"),
        ({"namespace": 7}, "cache.namespace"),
        ({"namespace": "x" * 129}, "cache.namespace"),
        ({"no_cache": True}, "cache.no_cache"),
        ([], "cache"),
        ("no-cache", "cache"),
        (True, "cache"),
    ],
    ids=str,
)
def test_wrong_controls_are_refused_by_name(cache: Any, param: str) -> None:
    with pytest.raises(InvalidRequest) as raised:
        ask(cache=cache)
    assert raised.value.param == param
    assert raised.value.status == 400


def test_the_nearest_name_is_offered() -> None:
    with pytest.raises(InvalidRequest, match="did you mean no-cache"):
        ask(cache={"no_cache": True})


def test_a_name_of_megabytes_is_neither_compared_nor_repeated_whole() -> None:
    with pytest.raises(InvalidRequest) as raised:
        ask(cache={"no-cache" * 500_000: True})
    assert len(raised.value.message) + len(raised.value.param or "") < 500


def test_wrong_controls_are_refused_even_where_the_cache_is_off() -> None:
    with pytest.raises(InvalidRequest):
        ask({"n": 2}, {"ttl": -1}, enabled=False)
