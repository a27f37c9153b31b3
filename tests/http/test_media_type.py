"""Only JSON is read, and it has to say that it is."""

import json

import pytest
from tests.serving import GatewayProcess
from tests.shapes import ask, refusal


@pytest.mark.parametrize(
    "given", [None, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "application/jsonx", ""]
)
def test_another_content_type_is_refused(gateway: GatewayProcess, given: str | None) -> None:
    headers = {} if given is None else {"content-type": given}

    error = refusal(gateway.client.post("/v1/chat/completions", content=json.dumps(ask()), headers=headers), 415, "unsupported_media_type")

    assert "application/json" in error["message"]


@pytest.mark.parametrize(
    "given", ["application/json", "application/json; charset=utf-8", "Application/JSON", "application/json;charset=UTF-8"]
)
def test_json_is_taken_however_it_is_spelt(gateway: GatewayProcess, given: str) -> None:
    answer = gateway.client.post("/v1/chat/completions", content=json.dumps(ask()), headers={"content-type": given})

    assert answer.status_code == 200
