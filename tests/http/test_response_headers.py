"""The headers of every answer: an id that joins it to the logs, how long it took, and nothing about what serves it."""

import pytest
from tests.serving import GatewayProcess
from tests.shapes import ask, head

PATHS = ["/health/live", "/v1/models", "/v1/models/none", "/nothing", "/docs"]


@pytest.mark.parametrize("path", PATHS)
def test_every_response_has_a_request_id_and_names_no_server(gateway: GatewayProcess, path: str) -> None:
    headers = gateway.client.get(path).headers

    assert headers["x-request-id"]
    assert "server" not in headers
    assert "openai-version" not in headers


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_tells_its_processing_time_in_milliseconds(gateway: GatewayProcess, stream: bool) -> None:
    response = gateway.chat(ask(stream=stream))

    assert 0 <= int(response.headers["openai-processing-ms"]) < 5000
    assert "server" not in response.headers


def test_a_stream_may_not_be_held_back_or_changed_on_its_way(gateway: GatewayProcess) -> None:
    headers = gateway.chat(ask(stream=True)).headers

    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert headers["cache-control"] == "no-cache, no-transform"
    assert headers["x-accel-buffering"] == "no"
    assert "content-length" not in headers
    assert "content-encoding" not in headers


@pytest.mark.parametrize("given", ["a", "order_66-B", "x" * 64])
def test_a_plain_request_id_is_kept(gateway: GatewayProcess, given: str) -> None:
    assert gateway.chat(ask(), headers={"x-request-id": given}).headers["x-request-id"] == given


@pytest.mark.parametrize(
    "given", ["", "x" * 65, "x" * 10_000, "a b", "a\tb", "ä", "a;b", "../../x", '"}'], ids=lambda given: f"{given[:10]}-{len(given)}"
)
def test_any_other_request_id_is_replaced(gateway: GatewayProcess, given: str) -> None:
    answer = gateway.raw(head(2, f"X-Request-ID: {given}") + b"{}")

    assert answer.status == 400
    assert answer.headers["x-request-id"] not in {given, ""}
    assert answer.headers["x-request-id"].isascii()


def test_a_line_break_in_a_request_id_does_not_reach_the_response(gateway: GatewayProcess) -> None:
    answer = gateway.raw(head(2, "X-Request-ID: a\r\nX-Injected: yes") + b"{}")

    assert "x-injected" not in answer.headers
    assert "\n" not in answer.headers["x-request-id"]


def test_two_answers_have_different_request_ids(gateway: GatewayProcess) -> None:
    assert gateway.chat(ask()).headers["x-request-id"] != gateway.chat(ask()).headers["x-request-id"]
