"""What goes over a limit is a 429 in OpenAI's shape with a wait; who asks is not what a header claims."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import openai
import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, refusal


@pytest.fixture
def three_a_minute(engine: FakeEngine) -> Iterator[GatewayProcess]:
    with GatewayProcess(engine.url, environ=environment(cache__enabled="false", limits__key__requests_per_minute=3)) as gateway:
        yield ready(gateway)


def test_the_request_over_the_limit_is_refused_with_a_wait(three_a_minute: GatewayProcess, engine: FakeEngine) -> None:
    answers = [three_a_minute.chat(ask()) for _ in range(3)]
    over = three_a_minute.chat(ask())

    assert [answer.status_code for answer in answers] == [200] * 3
    assert [answer.headers["x-ratelimit-remaining-requests"] for answer in answers] == ["2", "1", "0"]
    assert answers[0].headers["x-ratelimit-limit-requests"] == "3"
    refusal(over, 429, "rate_limit_exceeded", "rate_limit_error")
    assert 0 < int(over.headers["retry-after"]) <= 60
    assert len(engine.calls) == 3
    with openai.OpenAI(base_url=f"{three_a_minute.url}/v1", api_key="none", max_retries=0) as client, pytest.raises(openai.RateLimitError):
        client.chat.completions.create(**ask())


def test_a_claim_of_another_address_is_not_believed(three_a_minute: GatewayProcess) -> None:
    claims = ["X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Client-IP", "CF-Connecting-IP"]
    statuses = [
        three_a_minute.chat(ask(), headers={name: f"for=203.0.113.{number}" if name == "Forwarded" else f"203.0.113.{number}"}).status_code
        for number, name in enumerate(claims)
    ]

    assert statuses == [200, 200, 200, 429, 429]


def test_too_many_at_once_are_refused_at_once(engine: FakeEngine) -> None:
    engine.script = Script(ttft=1)
    with GatewayProcess(engine.url, environ=environment(cache__enabled="false", limits__key__concurrent_requests=2)) as gateway:
        ready(gateway)
        with ThreadPoolExecutor() as threads:
            under_way = [threads.submit(gateway.chat, ask()) for _ in range(2)]
            engine.wait_for_call(2)
            started = time.monotonic()
            over = gateway.chat(ask())
            took = time.monotonic() - started

        refusal(over, 429, "concurrency_limit_exceeded", "rate_limit_error")
        assert took < 0.5
        assert [answer.result().status_code for answer in under_way] == [200, 200]
        assert gateway.chat(ask()).status_code == 200


def test_more_tokens_than_anybody_can_count_are_too_many(engine: FakeEngine) -> None:
    with GatewayProcess(engine.url, environ=environment(limits__key__tokens_per_minute=1000)) as gateway:
        error = refusal(ready(gateway).chat(ask(max_tokens=10**400)), 429, "rate_limit_exceeded", "rate_limit_error")

    assert "too large" in error["message"]
    assert engine.calls == []
