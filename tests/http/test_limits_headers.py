"""Every answer says how much of each limit is left, in OpenAI's headers: whole, streamed, kept and refused ones alike."""

import re
from collections.abc import Iterator

import httpx
import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, refusal

GO_DURATION = re.compile(r"0s|\d+ms|(?:(?:\d+h)?\d+m)?\d+(?:\.\d{1,3})?s")
KINDS = ("requests", "tokens", "images")


@pytest.fixture
def limited(engine: FakeEngine) -> Iterator[GatewayProcess]:
    limits = environment(
        limits__key__requests_per_minute=4,
        limits__key__tokens_per_day=100_000,  # comes back at midnight only, so that what is left is a plain number
        limits__key__images_per_minute=10,
    )
    with GatewayProcess(engine.url, environ=limits) as gateway:
        yield ready(gateway)


def left(response: httpx.Response) -> dict[str, int]:
    for kind in KINDS:
        assert GO_DURATION.fullmatch(response.headers[f"x-ratelimit-reset-{kind}"]), response.headers
    assert [response.headers[f"x-ratelimit-limit-{kind}"] for kind in KINDS] == ["4", "100000", "10"]
    return {kind: int(response.headers[f"x-ratelimit-remaining-{kind}"]) for kind in KINDS}


def test_whole_streamed_kept_and_refused_answers_carry_them(limited: GatewayProcess) -> None:
    whole = limited.chat(ask("a"))
    streamed = limited.chat(ask("b", stream=True))
    kept = limited.chat(ask("a"))
    other = limited.chat(ask("c"))
    refused = limited.chat(ask("d"))

    assert [answer.headers["x-cache"] for answer in (whole, streamed, kept, other)] == ["MISS", "MISS", "HIT", "MISS"]
    refusal(refused, 429, "rate_limit_exceeded", "rate_limit_error")
    assert [left(answer)["requests"] for answer in (whole, streamed, kept, other, refused)] == [3, 2, 1, 0, 0]
    assert 0 < int(refused.headers["retry-after-ms"]) <= 15_000
    assert int(refused.headers["retry-after"]) <= 15
    refused_early = limited.chat(ask("e"))
    assert left(refused_early)["requests"] == 0
    assert int(refused_early.headers["retry-after-ms"]) <= int(refused.headers["retry-after-ms"])


def test_tokens_are_settled_with_real_usage_and_hits_cost_none(limited: GatewayProcess) -> None:
    first = limited.chat(ask("a", max_tokens=1000))
    second = limited.chat(ask("b", max_tokens=1000))
    hit = limited.chat(ask("a", max_tokens=1000))

    reserved, used = 100_000 - left(first)["tokens"], first.json()["usage"]["total_tokens"]
    assert used < reserved
    assert left(second)["tokens"] == 100_000 - used - reserved
    assert left(hit)["tokens"] == 100_000 - used - second.json()["usage"]["total_tokens"]
