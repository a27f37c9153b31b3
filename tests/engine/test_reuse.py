"""With real vLLM: a known picture goes by its name alone, is answered as if it had been sent, and is never taken for another's."""

import io
import itertools
import os
import sys
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pytest
from PIL import Image
from tests.caching import said, write_keys
from tests.fakes.proxy import ChaosProxy
from tests.real_engine import RealEngine
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, data_uri

from sightline import demo
from sightline.engines.reuse import is_miss
from sightline.errors import EngineRefused

PLATES = {data_uri(path.read_bytes()): asdict(label) for path, label in demo.plates().items()}
QUESTIONS = {"serial": "What is the serial number?", "color": "What color is the shape?", "shape": "What shape is on the label?"}
ACME, UMBRELLA = ({"authorization": f"Bearer sl-{tenant}"} for tenant in ("acme", "umbrella"))

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def wire(engine: RealEngine) -> Iterator[ChaosProxy]:
    """Between gateway and engine, to count what goes over it."""
    with ChaosProxy("127.0.0.1", int(engine.url.rpartition(":")[2])) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def gateway(engine: RealEngine, wire: ChaosProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Without the result cache, so that each question is the engine's."""
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    write_keys(file, acme=["chat"], umbrella=["chat"])
    settings = environment(engine_key=engine.key, keys_file=file, cache__enabled="false")
    with GatewayProcess(f"http://127.0.0.1:{wire.port}", environ=settings) as gateway:
        yield ready(gateway)


def about(engine: RealEngine, picture: str, text: str) -> dict[str, Any]:
    return ask(text, pictures=(picture,)) | {"model": engine.model, "temperature": 0}


def test_by_name_alone_is_as_by_its_bytes(engine: RealEngine, gateway: GatewayProcess, wire: ChaosProxy) -> None:
    """The first question about a large picture carries it, the next ones a thousandth of that; answers and token counts are vLLM's own."""
    file = io.BytesIO()
    Image.frombytes("RGB", (448, 224), os.urandom(448 * 224 * 3)).save(file, "PNG")
    picture, carried = data_uri(file.getvalue()), []
    for text in QUESTIONS.values():
        body = about(engine, picture, text)
        before = wire.carried
        answer = gateway.chat(body, headers=ACME)
        carried.append(wire.carried - before)
        assert said(answer)[:2] == said(engine.client.post("/v1/chat/completions", json=body))[:2]

    sys.stdout.write(f"a picture of {len(file.getvalue())} bytes, sent and answered: {carried} bytes over the wire\n")
    assert carried[0] > len(picture)
    assert all(bytes_ < len(picture) / 20 for bytes_ in carried[1:])


def test_no_picture_is_taken_for_another(engine: RealEngine, gateway: GatewayProcess) -> None:
    """Two tenants ask in turn about the same six plates and their own, each question twice, so that all but the first go by name."""
    wrong = []
    for (kind, text), (picture, label), _ in itertools.product(QUESTIONS.items(), PLATES.items(), range(2)):
        for who in (ACME, UMBRELLA):
            answer = said(gateway.chat(about(engine, picture, text), headers=who))[0]
            wrong += [(kind, label[kind], answer)] if answer != label[kind] else []

    assert wrong == []


def test_two_pictures_by_name_keep_their_order(engine: RealEngine, gateway: GatewayProcess) -> None:
    """As vLLM answers when both are sent to it, in either order."""
    one, other, *_ = PLATES
    for pictures in ((one, other), (other, one)) * 2:
        body = ask(QUESTIONS["serial"], pictures=pictures) | {"model": engine.model, "temperature": 0}
        direct = engine.client.post("/v1/chat/completions", json=body)
        assert said(gateway.chat(body, headers=ACME))[:2] == said(direct)[:2]


def test_vllm_says_that_it_has_let_a_picture_go_as_we_expect(engine: RealEngine) -> None:
    """In the words by which a 400 is told apart from the client's own."""
    content = [{"type": "image_url", "image_url": None, "uuid": "never-sent"}, {"type": "text", "text": "?"}]
    refused = engine.client.post("/v1/chat/completions", json={"model": engine.model, "messages": [{"role": "user", "content": content}]})

    assert is_miss(EngineRefused(refused.json()["error"]["message"], status=refused.status_code, code=None)), refused.text
