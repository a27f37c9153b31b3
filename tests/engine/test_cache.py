"""With real vLLM: an answer missed, hit or coalesced, asked as JSON or as a stream, is what vLLM says when it is asked directly."""

import asyncio
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from tests.caching import FORMS, client_of, crowd, in_flight, said, told
from tests.real_engine import RealEngine
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask, data_uri

from sightline import demo

PLATE, LABEL = next(iter(demo.plates().items()))
PICTURE = data_uri(PLATE.read_bytes())
READ = "Describe the label as JSON."

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def gateway(engine: RealEngine) -> Iterator[GatewayProcess]:
    with GatewayProcess(engine.url, environ=environment(engine_key=engine.key)) as gateway:
        yield ready(gateway)


def about(engine: RealEngine, text: str = READ, **fields: Any) -> dict[str, Any]:
    return ask(text, pictures=(PICTURE,), **fields) | {"model": engine.model, "temperature": 0}


async def timed(client: httpx.AsyncClient, body: dict[str, Any]) -> tuple[float, httpx.Response]:
    began = time.perf_counter()
    response = await client.post("/v1/chat/completions", json=body)
    return (time.perf_counter() - began) * 1e3, response


def show(first: str, again: str, took: float, response: httpx.Response) -> None:
    found = told(response)
    usage = {name: count for name, count in found["usage"].items() if type(count) is int}
    source, age = response.headers["x-cache"], response.headers.get("age", "-")
    sys.stdout.write(f"{first:6} → {again:6} {source:9} age {age} {took:7.1f} ms {found['reason']:6} {usage} {found['text'][:70]!r}\n")


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("again", FORMS)
async def test_missed_and_hit(engine: RealEngine, gateway: GatewayProcess, first: str, again: str) -> None:
    """Text, end and usage are those of vLLM's own JSON answer. (How much sooner a hit is told is printed; it decides nothing.)"""
    body = about(engine, cache={"namespace": f"{first} {again}"})
    direct = engine.client.post("/v1/chat/completions", json={name: value for name, value in body.items() if name != "cache"})
    async with client_of(gateway) as client:
        missing, miss = await timed(client, body | FORMS[first])
        hitting, hit = min([await timed(client, body | FORMS[again]) for _ in range(5)], key=lambda one: one[0])
    show(first, "", missing, miss)
    show(first, again, hitting, hit)

    assert (miss.headers["x-cache"], hit.headers["x-cache"]) == ("MISS", "HIT")
    text, reason, usage = said(direct)
    assert [said(one)[:2] for one in (miss, hit)] == [(text, reason)] * 2
    assert (
        text
        == f'{{"serial": "{LABEL.serial}", "color": "{LABEL.color}", "shape": "{LABEL.shape}", "scratch": {str(LABEL.scratch).lower()}}}'
    )
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert [told(one)["usage"][name] for one in (miss, hit)] == [usage[name]] * 2


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("again", FORMS)
async def test_coalesced(engine: RealEngine, gateway: GatewayProcess, first: str, again: str) -> None:
    """An answer that is never kept, since it ends by its length. (A `null` in the usage is vLLM's own: its JSON has one.)"""
    long: dict[str, Any] = {"max_tokens": 300, "ignore_eos": True}
    body = about(engine, cache={"namespace": f"{first} {again}"}, **long)
    direct = said(engine.client.post("/v1/chat/completions", json=about(engine, **long)))
    async with client_of(gateway) as client, asyncio.TaskGroup() as group:
        with engine.paused():
            leader = group.create_task(timed(client, body | FORMS[first]))
            await asyncio.to_thread(eventually, lambda: in_flight(gateway) == 1, 10, "it to be asked")
            follower = group.create_task(timed(client, body | FORMS[again]))
            await asyncio.to_thread(eventually, lambda: in_flight(gateway) == 2, 10, "it to be asked again")

    (_, miss), (took, shared) = leader.result(), follower.result()
    show(first, again, took, shared)
    assert (miss.headers["x-cache"], shared.headers["x-cache"]) == ("MISS", "COALESCED")
    assert said(shared) == said(miss)
    assert said(shared)[:2] == direct[:2]


async def test_a_stampede(engine: RealEngine, gateway: GatewayProcess) -> None:
    """A hundred at once, half of them streaming: one engine call, by vLLM's own count."""
    body = about(engine, cache={"namespace": "stampede"})
    before = generated(engine)
    answers = await crowd(gateway, *(body | FORMS["stream" if number % 2 else "json"] for number in range(100)))

    assert len({str(said(answer)) for answer in answers}) == 1
    assert generated(engine) - before == told(answers[0])["usage"]["completion_tokens"]


def generated(engine: RealEngine) -> float:
    """Tokens that vLLM has made since its start."""
    lines = engine.client.get("/metrics").text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith("vllm:generation_tokens_total"))


def test_an_adapter_has_answers_of_its_own(engine: RealEngine, gateway: GatewayProcess) -> None:
    """The same picture and question: not the model's kept answer."""
    body = about(engine, "What is the serial number?", max_tokens=8)
    first = gateway.chat(body)
    adapted = gateway.chat(body | {"model": engine.adapter})

    assert (first.headers["x-cache"], adapted.headers["x-cache"]) == ("MISS", "MISS")
    assert told(adapted)["text"] != told(first)["text"]
