"""An answer that is cut short, failed or left is never kept: the next one to ask gets one of his own."""

from typing import Any

import pytest
from tests.caching import FORMS, cache, encoded, kept_meanwhile, told
from tests.fakes.answer import text_for
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.redis_server import RedisServer
from tests.fakes.script import refusal
from tests.serving import GatewayProcess
from tests.shapes import ask, head

CHAT: dict[str, Script] = {
    "reset": Script(fault=Fault.CUT, after=3),
    "closed by half": Script(fault=Fault.HALF_CLOSE, after=3),
    "refused": refusal(400),
    "engine broken": refusal(500),
    "no JSON": Script(fault=Fault.BAD_JSON, after=3),
    "a page": Script(fault=Fault.HTML),
}
STREAMED: dict[str, Script] = {
    "error event": Script(fault=Fault.ERROR_EVENT, after=3),
    "no [DONE]": Script(fault=Fault.NO_DONE, after=3),
}
FAILURES = [
    *(pytest.param(form, script, id=f"{form}: {name}") for form in FORMS for name, script in CHAT.items()),
    *(pytest.param("stream", script, id=f"stream: {name}") for name, script in STREAMED.items()),
]


@pytest.mark.parametrize(("form", "script"), FAILURES)
def test_failed(cached: GatewayProcess, engine: FakeEngine, redis: RedisServer, form: str, script: Script) -> None:
    engine.script = script
    body = ask()
    with kept_meanwhile(cached, redis) as kept:
        cached.chat(body | FORMS[form])
    assert kept == []

    engine.script = Script()
    answer = cached.chat(body)
    assert (cache(answer), told(answer)["text"]) == ("MISS", text_for(body))


@pytest.mark.parametrize("form", FORMS)
def test_at_its_longest(cached: GatewayProcess, engine: FakeEngine, form: str) -> None:
    """`finish_reason: length` says that there was more to say."""
    body = ask(max_tokens=2) | FORMS[form]
    answers = [cached.chat(body), cached.chat(body)]

    assert [told(answer)["reason"] for answer in answers] == ["length", "length"]
    assert [cache(answer) for answer in answers] == ["MISS", "MISS"]
    assert len(engine.calls) == 2


@pytest.mark.parametrize("fields", FORMS.values(), ids=FORMS)
def test_left(cached: GatewayProcess, engine: FakeEngine, redis: RedisServer, fields: dict[str, Any]) -> None:
    """By its only client, before it was complete."""
    engine.upcoming.append(Script(rate=10))
    body = ask() | fields
    with kept_meanwhile(cached, redis) as kept:
        with cached.connect() as wire:
            wire.sendall(head(len(encoded(body))) + encoded(body))
            call = engine.wait_for_call()
        engine.wait_for(lambda: call.ended)
    assert kept == []
    assert call.left_at is not None

    assert cache(cached.chat(body)) == "MISS"
