"""A picture of 20 MB, the largest that is promised, passes through nginx; a body of 33 MB is refused there, in our shape."""

import io
import json
import os

from PIL import Image
from tests.deploy.proxy import Nginx
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, read_response
from tests.shapes import ask, data_uri, head, refusal


def noise(width: int, height: int) -> bytes:
    """A PNG of three bytes a pixel: noise cannot be packed."""
    file = io.BytesIO()
    Image.frombytes("RGB", (width, height), os.urandom(width * height * 3)).save(file, "PNG", compress_level=0)
    return file.getvalue()


def test_a_picture_of_20_mb_passes(nginx: Nginx, engine: FakeEngine) -> None:
    content = noise(2700, 2580)
    assert 20_000_000 < len(content) <= 20 * 2**20

    answer = nginx.chat(ask(pictures=(data_uri(content),)))

    assert answer.status_code == 200, answer.text
    part = json.loads(engine.wait_for_call().body)["messages"][0]["content"][0]
    assert part["image_url"]["url"].startswith("data:image/")


def test_33_mb_are_refused_before_they_are_sent(nginx: Nginx, gateway: GatewayProcess, engine: FakeEngine) -> None:
    with nginx.connect() as wire:
        wire.sendall(head(33 * 2**20, "X-Request-ID: a-large-one"))
        answer = read_response(wire)

    assert "32 MiB" in refusal(answer, 413, "request_too_large")["message"]
    assert answer.headers["x-request-id"] == "a-large-one"
    assert not gateway.events("request.finished", request_id="a-large-one")


def test_33_mb_are_refused_of_a_client_that_sends_first_and_reads_then(nginx: Nginx, engine: FakeEngine) -> None:
    answer = nginx.client.post("/v1/chat/completions", content=bytes(33 * 2**20), headers={"content-type": "application/json"})

    refusal(answer, 413, "request_too_large")
