"""Prompts, answers, picture bytes, keys and URL queries are in no log line, metric or error."""

import base64
import json

import pytest
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.script import refusal as refused
from tests.serving import GatewayProcess
from tests.shapes import ask, data_uri, picture

SCRIPTS = {
    "an answer": Script(text="canary-answer"),
    "a 500": refused(500, "canary-answer"),
    "HTML": Script(status=200, fault=Fault.HTML),
    "garbage": Script(fault=Fault.GARBAGE),
    "a cut": Script(text="canary-answer " * 5, fault=Fault.CUT, after=2),
    "silence": Script(fault=Fault.SILENCE),
    "a full engine": refused(429, "slow down"),
}


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS.keys())
@pytest.mark.parametrize("stream", [False, True])
def test_nothing_that_was_asked_or_answered_is_told_to_others(
    strict: GatewayProcess, engine: FakeEngine, script: Script, stream: bool
) -> None:
    engine.script = script
    sent = picture(40, 40, "pink")
    response = strict.chat(
        ask("canary-prompt", pictures=(data_uri(sent),), stream=stream, user="canary-user", metadata={"a": "canary-metadata"}),
        headers={"authorization": "Bearer canary-key", "cookie": "canary-cookie"},
        params={"api_key": "canary-query"},
    )
    strict.finished(response.headers["x-request-id"])

    told = strict.log() + strict.client.get("/metrics").text
    assert "canary" not in told
    assert base64.b64encode(sent).decode()[60:90] not in told
    assert "canary-prompt" not in response.text or response.status_code == 200
    if response.status_code != 200:
        assert "canary" not in response.text


WRONG = {
    "a field's value": {"temprature": "canary-value"},
    "a URL's query": {"pictures": ("ftp://host.example.org/p.png?sig=canary-signature",)},
    "a URL's user": {"pictures": ("http://canary-user:canary-word@127.0.0.1/p.png?sig=canary-signature",)},
    "base64": {"pictures": ("data:image/png;base64,canary!" + "canary" * 100,)},
    "a role": {"messages": [{"role": ["canary-role"], "content": "x"}]},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG.keys())
def test_a_refusal_does_not_repeat_what_was_wrong(strict: GatewayProcess, fields: dict[str, object]) -> None:
    response = strict.chat(ask("x", **fields) if "messages" not in fields else ask("x") | fields)  # type: ignore[arg-type]  # of the table above
    strict.finished(response.headers["x-request-id"])

    assert response.status_code == 400
    assert "canary" not in json.dumps(response.json())
    assert "canary" not in strict.log()
