"""Whatever can change an answer makes another question of it: nobody is served what answered something else."""

from collections.abc import Iterator
from typing import Any

import pytest
from tests.caching import cache, told, write_keys
from tests.fakes.engine import FakeEngine
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import MODEL, ask, data_uri, picture

RED, BLUE, GREEN = (data_uri(picture(colour=colour)) for colour in ("red", "blue", "green"))
TEXT = "Is there a defect?"
ACME, UMBRELLA = ({"authorization": f"Bearer sl-{tenant}"} for tenant in ("acme", "umbrella"))
BASE = ask(TEXT, pictures=(RED, BLUE))


def with_detail(body: dict[str, Any], detail: str) -> dict[str, Any]:
    content = body["messages"][0]["content"]
    pictured = [part | {"image_url": part["image_url"] | {"detail": detail}} if part["type"] == "image_url" else part for part in content]
    return body | {"messages": [{"role": "user", "content": pictured}]}


def text_first(body: dict[str, Any]) -> dict[str, Any]:
    return body | {"messages": [{"role": "user", "content": body["messages"][0]["content"][::-1]}]}


OTHERS: dict[str, dict[str, Any]] = {
    "another model": BASE | {"model": "other-vl"},
    "a LoRA adapter": BASE | {"model": "fake-lora"},
    "a system prompt": BASE | {"messages": [{"role": "system", "content": "By IPC-A-610."}, *BASE["messages"]]},
    "another system prompt": BASE | {"messages": [{"role": "system", "content": "By IPC-A-620."}, *BASE["messages"]]},
    "detail": with_detail(BASE, "low"),
    "another detail": with_detail(BASE, "high"),
    "the pictures' order": ask(TEXT, pictures=(BLUE, RED)),
    "another picture": ask(TEXT, pictures=(RED, GREEN)),
    "one picture fewer": ask(TEXT, pictures=(RED,)),
    "a picture twice": ask(TEXT, pictures=(RED, BLUE, BLUE)),
    "no picture": ask(TEXT),
    "text before pictures": text_first(BASE),
    "another text": ask(TEXT + " Where?", pictures=(RED, BLUE)),
    "other capitals": ask(TEXT.upper(), pictures=(RED, BLUE)),
    "a turn before": BASE | {"messages": [*BASE["messages"], {"role": "assistant", "content": "No."}, *BASE["messages"]]},
    "another length": BASE | {"max_tokens": 500},
    "a temperature": BASE | {"temperature": 0},
    "a seed": BASE | {"seed": 1},
    "a form": BASE | {"response_format": {"type": "json_object"}},
    "a stop word": BASE | {"stop": ["\u2603"]},
    "tools": BASE | {"tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]},
}


@pytest.fixture(scope="module")
def models() -> Iterator[FakeEngine]:
    with FakeEngine(models=(MODEL, "other-vl", "fake-lora")) as engine:
        yield engine


@pytest.fixture(scope="module")
def gateway(models: FakeEngine, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    write_keys(file, acme=["chat"], umbrella=["chat"])
    settings = environment(store=redis.url, keys_file=file, cache__timeout=1, cache__generation="identity")
    with GatewayProcess(models.url, environ=settings) as gateway:
        yield ready(gateway)


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_a_difference_is_a_miss(gateway: GatewayProcess, models: FakeEngine, other: dict[str, Any]) -> None:
    """And kept beside the first: each is served its own afterwards."""
    gateway.chat(BASE, headers=ACME)
    assert cache(gateway.chat(BASE, headers=ACME)) == "HIT"
    before = len(models.calls)

    first = gateway.chat(other, headers=ACME)
    assert cache(first) == "MISS"
    assert len(models.calls) == before + 1
    again = gateway.chat(other, headers=ACME)
    assert (cache(again), told(again)["text"]) == ("HIT", told(first)["text"])


def test_another_tenant_is_a_miss(gateway: GatewayProcess) -> None:
    """The very same request, one after the other."""
    body = ask(pictures=(RED,))

    assert [cache(gateway.chat(body, headers=who)) for who in (ACME, UMBRELLA, ACME, UMBRELLA)] == ["MISS", "MISS", "HIT", "HIT"]


SAME: dict[str, dict[str, Any]] = {
    "who asks": {"user": "somebody", "safety_identifier": "x", "metadata": {"a": "b"}},
    "the form": {"stream": True, "stream_options": {"include_usage": True}},
    "nothing but order": {},
    "hints": {"prompt_cache_key": "x", "store": True},
}


@pytest.mark.parametrize("fields", SAME.values(), ids=SAME)
def test_what_cannot_change_an_answer_is_a_hit(gateway: GatewayProcess, fields: dict[str, Any]) -> None:
    body = ask(pictures=(GREEN,))
    gateway.chat(body, headers=ACME)
    turned = dict(reversed((body | fields).items()))

    assert cache(gateway.chat(turned, headers=ACME)) == "HIT"
