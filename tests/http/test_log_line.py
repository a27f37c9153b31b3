"""One JSON line a request, with the fields of the contract, joined to the answer by its request id."""

import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess
from tests.shapes import ask, data_uri, picture

FIELDS = {
    "ts", "level", "event", "request_id", "tenant", "route", "model", "status", "code", "cache", "image_hash", "question_hash", "images",
    "image_bytes", "prompt_tokens", "completion_tokens", "ttft_ms", "duration_ms", "overhead_ms", "engine",
}  # fmt: skip


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_leaves_one_line_with_what_it_was(gateway: GatewayProcess, engine: FakeEngine, stream: bool) -> None:
    engine.script = Script(ttft=0.2)
    sent = picture()

    response = gateway.chat(ask(pictures=(data_uri(sent),), stream=stream))
    line = gateway.finished(response.headers["x-request-id"])

    assert set(line) >= FIELDS
    assert (line["route"], line["model"], line["status"], line["code"]) == ("/v1/chat/completions", "fake-vl", 200, None)
    assert (line["images"], line["image_bytes"]) == (1, len(sent))
    assert (line["cache"], line["level"]) == ("BYPASS", "info")
    assert line["engine"] == engine.url.removeprefix("http://")
    assert line["prompt_tokens"] > 0
    assert line["completion_tokens"] > 0
    assert 200 <= line["ttft_ms"] <= line["duration_ms"] < 2000
    assert line["overhead_ms"] < 150


def test_a_refusal_leaves_a_line_with_its_code(gateway: GatewayProcess) -> None:
    response = gateway.chat(ask(model="none"))
    line = gateway.finished(response.headers["x-request-id"])

    assert (line["status"], line["code"]) == (404, "model_not_found")


def test_an_unknown_path_is_not_repeated(gateway: GatewayProcess) -> None:
    response = gateway.client.get("/canary-path?canary-query=1")

    assert gateway.finished(response.headers["x-request-id"])["route"] == "other"
    assert "canary" not in gateway.log()


def test_health_checks_leave_no_lines(gateway: GatewayProcess) -> None:
    gateway.finished(gateway.chat(ask()).headers["x-request-id"])  # lines come in order, so all before it are there
    before = len(gateway.events("request.finished"))
    for path in ("/health/live", "/health/ready", "/metrics"):
        gateway.client.get(path)
    response = gateway.chat(ask())
    gateway.finished(response.headers["x-request-id"])

    assert len(gateway.events("request.finished")) == before + 1
