"""An answer kept or shared is the first one's, whichever form either was asked in: JSON or stream, missed, hit or coalesced."""

import asyncio
import time

import pytest
from tests.caching import FORMS, HASHES, USAGE, cache, crowd, said, told
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, eventually
from tests.shapes import ask, chunks, data_uri, picture

PICTURE = data_uri(picture(colour="teal"))

both = pytest.mark.parametrize("again", FORMS)
either = pytest.mark.parametrize("first", FORMS)


@either
@both
def test_a_miss_and_then_a_hit(cached: GatewayProcess, engine: FakeEngine, first: str, again: str) -> None:
    """Text, finish reason and usage are those of the first answer; the id is fresh; the headers name picture, question and age."""
    body = ask(pictures=(PICTURE,))
    miss = cached.chat(body | FORMS[first])
    hit = cached.chat(body | FORMS[again])

    assert (cache(miss), cache(hit)) == ("MISS", "HIT")
    assert "age" not in miss.headers
    assert 0 <= int(hit.headers["age"]) < 10
    assert [len(miss.headers[name]) for name in HASHES] == [64, 64]
    assert [hit.headers[name] for name in HASHES] == [miss.headers[name] for name in HASHES]
    assert said(hit) == said(miss)
    assert told(miss)["usage"]["total_tokens"] > 0
    assert told(hit)["id"] != told(miss)["id"]
    assert len(engine.calls) == 1


async def test_coalesced(cached: GatewayProcess, engine: FakeEngine) -> None:
    """Who asks what is being answered shares the call, and gets the same: every form with every other."""
    engine.script = Script(ttft=1.5)
    pairs = {(first, again): ask(pictures=(PICTURE,)) for first in FORMS for again in FORMS}
    async with asyncio.TaskGroup() as group:
        leaders = group.create_task(crowd(cached, *(body | FORMS[first] for (first, _), body in pairs.items())))
        await asyncio.to_thread(engine.wait_for_call, len(pairs))
        followers = await crowd(cached, *(body | FORMS[again] for (_, again), body in pairs.items()))

    for miss, shared in zip(leaders.result(), followers, strict=True):
        assert (cache(miss), cache(shared)) == ("MISS", "COALESCED")
        assert "age" not in shared.headers
        assert [shared.headers[name] for name in HASHES] == [miss.headers[name] for name in HASHES]
        assert said(shared) == said(miss)
    assert len(engine.calls) == len(pairs)


@either
def test_a_streamed_hit_tells_usage_only_to_who_asks(cached: GatewayProcess, first: str) -> None:
    body = ask()
    cached.chat(body | FORMS[first])

    silent = chunks(cached.chat(body | {"stream": True}))
    asked = chunks(cached.chat(body | {"stream": True} | USAGE))

    assert all(chunk["choices"] and not chunk.get("usage") for chunk in silent)
    assert [bool(chunk["choices"]) for chunk in asked[-2:]] == [True, False]


def test_a_hit_is_as_new_as_its_request(cached: GatewayProcess) -> None:
    """`created` is when it was answered, not when it was kept."""
    body = ask()
    kept = told(cached.chat(body))["created"]
    eventually(lambda: time.time() >= kept + 1, what="another second")

    hit = cached.chat(body)

    assert cache(hit) == "HIT"
    assert told(hit)["created"] > kept


def test_a_question_without_a_picture_has_no_image_hash(cached: GatewayProcess) -> None:
    body = ask()

    assert [cache(cached.chat(body)), cache(cached.chat(body))] == ["MISS", "HIT"]
    assert "x-image-hash" not in cached.chat(body).headers


def test_a_tool_call_is_kept_and_streamed(cached: GatewayProcess, engine: FakeEngine) -> None:
    """Of a JSON answer: the calls and the reason come back in either form."""
    body = ask(tools=[{"type": "function", "function": {"name": "file_complaint", "parameters": {"type": "object"}}}])
    first = cached.chat(body).json()["choices"][0]
    again = cached.chat(body)
    (*_, last) = found = chunks(cached.chat(body | {"stream": True}))

    assert cache(again) == "HIT"
    assert again.json()["choices"][0]["message"]["tool_calls"] == first["message"]["tool_calls"]
    calls = [call for chunk in found for choice in chunk["choices"] for call in choice["delta"].get("tool_calls") or ()]
    assert "".join(call["function"]["arguments"] for call in calls) == first["message"]["tool_calls"][0]["function"]["arguments"]
    assert last["choices"][0]["finish_reason"] == first["finish_reason"] == "tool_calls"
    assert len(engine.calls) == 1
