"""What an engine gets to see of a request: the question, the gateway's own key and the request id; nothing of the caller's headers."""

import json

from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, data_uri, picture


def test_the_callers_headers_stay_here(gateway: GatewayProcess, engine: FakeEngine) -> None:
    canaries = {
        "authorization": "Bearer canary-key",
        "cookie": "canary-cookie",
        "x-forwarded-for": "203.0.113.9",
        "user-agent": "canary-agent",
    }

    gateway.chat(ask(), headers=canaries | {"x-request-id": "mine-1"})

    got = engine.wait_for_call().headers
    assert "canary" not in json.dumps(got)
    assert "203.0.113.9" not in json.dumps(got)
    assert got["x-request-id"] == "mine-1"
    assert got["content-type"] == "application/json"
    assert got["accept-encoding"] == "identity"


def test_the_engines_own_key_is_used_and_never_told() -> None:
    with (
        FakeEngine(key="canary-engine-key") as engine,
        GatewayProcess(engine.url, environ=environment(engine_key="canary-engine-key")) as gateway,
    ):
        ready(gateway)

        assert gateway.chat(ask()).status_code == 200
        assert "canary" not in gateway.log()


def test_a_picture_arrives_as_a_data_uri_of_a_picture(gateway: GatewayProcess, engine: FakeEngine) -> None:
    gateway.chat(ask("what?", pictures=(data_uri(picture(colour="teal")),)))

    image, text = engine.wait_for_call().json["messages"][0]["content"]
    assert image["type"] == "image_url"
    assert image["image_url"]["url"].startswith("data:image/")
    assert text == {"type": "text", "text": "what?"}


def test_connections_to_the_engine_are_reused(gateway: GatewayProcess, engine: FakeEngine) -> None:
    for stream in (False, True) * 10:
        assert gateway.chat(ask(stream=stream)).status_code == 200

    assert len({call.connection for call in engine.calls}) <= 3  # one is still in use while its stream's end is on the way
