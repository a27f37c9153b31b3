"""Real vLLM, as `sightline engine run` starts it: ready, guarded, restarted when it is killed, with nothing left of the one before."""

import base64
import os
import signal
from collections.abc import Sequence
from typing import Any

import httpx
import pytest
from tests.real_engine import START, RealEngine, alive
from tests.serving import eventually

from sightline import demo
from sightline.engines import processes

PLATE, LABEL = next(iter(demo.plates().items()))
DATA_URI = "data:image/png;base64," + base64.b64encode(PLATE.read_bytes()).decode()


def ask(engine: RealEngine, question: str, *, model: str | None = None, pictures: Sequence[str] = (DATA_URI,)) -> httpx.Response:
    content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": url}} for url in pictures]
    content.append({"type": "text", "text": question})
    body = {"model": model or engine.model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 40}
    return engine.client.post("/v1/chat/completions", json=body)


def answer(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.json()["choices"][0]["message"]["content"])


def test_it_sees(engine: RealEngine) -> None:
    """The bundled model answers about a bundled plate."""
    assert answer(ask(engine, "What color is the shape?")) == LABEL.color


def test_sixteen_pictures(engine: RealEngine) -> None:
    """As many pictures as the gateway admits fit into the engine's limits and the model's context; one more does not."""
    assert ask(engine, "What shape is on the label?", pictures=[DATA_URI] * 16).status_code == 200
    assert ask(engine, "What shape is on the label?", pictures=[DATA_URI] * 17).status_code == 400


@pytest.mark.parametrize("key", ["", "Bearer wrong"], ids=["none", "wrong"])
def test_it_wants_its_key(engine: RealEngine, key: str) -> None:
    """Others on the machine cannot use it."""
    assert httpx.get(f"{engine.url}/v1/models", headers={"Authorization": key} if key else {}, trust_env=False).status_code == 401


@pytest.mark.parametrize("url", ["http://127.0.0.1:9/x.png", "https://example.com/x.png", "file:///etc/hostname"])
def test_it_fetches_nothing(engine: RealEngine, url: str) -> None:
    """A picture that is a URL is refused by the engine itself, for being one, whatever is in front of it (vLLM answers files with 500)."""
    refusal = ask(engine, "What color is the shape?", pictures=[url])

    assert refusal.status_code in (400, 422, 500)
    assert "allowed" in refusal.text


def test_adapters_are_listed(engine: RealEngine) -> None:
    """The model and its LoRA adapter, which names its parent."""
    models = {model["id"]: model["parent"] for model in engine.client.get("/v1/models").json()["data"]}

    assert models == {engine.model: None, engine.adapter: engine.model}


def test_adapters_are_used(engine: RealEngine) -> None:
    """Asked under the adapter's name, the same question about the same plate is answered otherwise."""
    question = "What is the serial number?"

    assert answer(ask(engine, question, model=engine.adapter)) != answer(ask(engine, question))


def test_killed_and_back(engine: RealEngine) -> None:
    """After kill -9 of the API server its orphans are gone before the next start, which has the same address and key and sees as before."""
    server = engine.server()
    tree = [server, *processes.below(server)]
    assert len(tree) > 2, "vLLM runs its engine in processes of their own"

    os.kill(server, signal.SIGKILL)

    eventually(lambda: not alive(tree), 20, "the end of all processes of the killed engine")
    eventually(lambda: log_counts(engine, "ready after") == 2, START, "the restart")
    assert log_counts(engine, "died (killed by SIGKILL") == 1
    assert answer(ask(engine, "What color is the shape?")) == LABEL.color


def log_counts(engine: RealEngine, text: str) -> int:
    return engine.log.read_text().count(text)
