"""With a key file every route but the open ones asks for a key: 401 without a right one, 403 beyond its scopes; no message repeats it."""

import json
import subprocess
from collections.abc import Iterator
from typing import NamedTuple

import openai
import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import COMMAND, GatewayProcess, environment, ready
from tests.shapes import ask, head, refusal


class Locked(NamedTuple):
    gateway: GatewayProcess
    chat: str
    metrics: str


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory, _engine: FakeEngine) -> Iterator[Locked]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"

    def new(*options: str) -> str:
        command = [*COMMAND, "keys", "new", "--file", str(file), "--tenant", "acme", *options]
        return subprocess.run(command, env=environment(), capture_output=True, text=True, check=True).stdout.strip()

    chat, metrics = new(), new("--scope", "metrics")
    with GatewayProcess(_engine.url, environ=environment(keys_file=file, cache__enabled="false")) as gateway:
        yield Locked(ready(gateway), chat, metrics)


AUTHORIZATIONS = {
    "none": [],
    "empty": [""],
    "another scheme": ["Basic Y2FuYXJ5OmNhbmFyeQ=="],
    "no key": ["Bearer "],
    "a wrong key": ["Bearer sl-canary"],
    "a very long key": ["Bearer sl-canary" + "x" * 5_000],
    "a key outside ASCII": ["Bearer sl-canary-ß"],
    "two keys in one": ["Bearer sl-canary sl-canary"],
}


@pytest.mark.parametrize("values", AUTHORIZATIONS.values(), ids=AUTHORIZATIONS.keys())
def test_without_a_right_key_there_is_no_answer(locked: Locked, engine: FakeEngine, values: list[str]) -> None:
    body = json.dumps(ask()).encode()

    answer = locked.gateway.raw(head(len(body), *(f"Authorization: {value}" for value in values)) + body)

    refusal(answer, 401, "invalid_api_key", "authentication_error")
    assert b"canary" not in answer.body
    assert "canary" not in locked.gateway.log()
    assert engine.calls == []


def test_a_right_key_beside_another_is_refused(locked: Locked) -> None:
    body = json.dumps(ask()).encode()
    for pair in ((locked.chat, "sl-other"), ("sl-other", locked.chat)):
        answer = locked.gateway.raw(head(len(body), *(f"Authorization: Bearer {key}" for key in pair)) + body)
        refusal(answer, 401, "invalid_api_key", "authentication_error")


def test_a_right_key_is_answered_and_never_told(locked: Locked, engine: FakeEngine) -> None:
    response = locked.gateway.chat(ask(), headers={"authorization": f"Bearer {locked.chat}"})

    assert response.status_code == 200
    line = locked.gateway.finished(response.headers["x-request-id"])
    assert line["tenant"] == "acme"
    assert locked.chat not in locked.gateway.log() + json.dumps(engine.wait_for_call().headers)


def test_beyond_its_scopes_a_key_is_refused_with_403(locked: Locked) -> None:
    error = refusal(
        locked.gateway.chat(ask(), headers={"authorization": f"Bearer {locked.metrics}"}),
        403,
        "insufficient_permissions",
        "permission_error",
    )

    assert "chat" in error["message"]


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/fake-vl", "/v1/chat/completions", "/nothing", "/v1/cache/images/x"])
def test_what_is_not_open_asks_for_a_key_before_it_tells_what_there_is(locked: Locked, path: str) -> None:
    refusal(locked.gateway.client.get(path), 401, "invalid_api_key", "authentication_error")


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/"])
def test_the_open_routes_ask_for_none(locked: Locked, path: str) -> None:
    assert locked.gateway.client.get(path).status_code == 200


def test_openai_python_raises_the_classes_that_fit(locked: Locked) -> None:
    for key, kind in (("sl-wrong", openai.AuthenticationError), (locked.metrics, openai.PermissionDeniedError)):
        with openai.OpenAI(base_url=f"{locked.gateway.url}/v1", api_key=key, max_retries=0) as client, pytest.raises(kind):
            client.chat.completions.create(**ask())
