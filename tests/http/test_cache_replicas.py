"""Gateways on one Redis are one cache: what one has answered the others know, what one is asking the others wait for."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from tests.caching import FORMS, cache, crowd, said
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask, data_uri, picture


def replica(engine: FakeEngine, redis: RedisServer, **settings: Any) -> GatewayProcess:
    return GatewayProcess(engine.url, environ=environment(store=redis.url, cache__timeout=1, **settings))


@pytest.fixture(scope="module")
def _other(_engine: FakeEngine, redis: RedisServer) -> Iterator[GatewayProcess]:
    with replica(_engine, redis) as gateway:
        yield gateway


@pytest.fixture
def other(_other: GatewayProcess, cached: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    """Both know of each other, which takes them up to two seconds."""
    eventually(lambda: "sightline_replicas 1.0" not in cached.client.get("/metrics").text, 10, "the other replica")
    return ready(_other)


def prepared(gateway: GatewayProcess) -> float:
    """How many pictures it has opened."""
    lines = gateway.client.get("/metrics").text.splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith("sightline_image_prepare_seconds_count"))


@pytest.mark.parametrize("first", FORMS)
@pytest.mark.parametrize("again", FORMS)
def test_a_hit_anywhere(cached: GatewayProcess, other: GatewayProcess, engine: FakeEngine, first: str, again: str) -> None:
    body = ask(pictures=(data_uri(picture(colour="teal")),))
    miss, hit = cached.chat(body | FORMS[first]), other.chat(body | FORMS[again])

    assert (cache(miss), cache(hit)) == ("MISS", "HIT")
    assert said(hit) == said(miss)
    assert len(engine.calls) == 1


async def test_one_engine_call_for_two_gateways(cached: GatewayProcess, other: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=1.0)
    body = ask()
    async with asyncio.TaskGroup() as group:
        first = group.create_task(crowd(cached, *[body] * 5))
        await asyncio.to_thread(engine.wait_for_call)
        second = group.create_task(crowd(other, *[body] * 5))

    answers = [*first.result(), *second.result()]
    assert sorted(cache(answer) for answer in answers) == ["COALESCED"] * 9 + ["MISS"]
    assert len({str(said(answer)) for answer in answers}) == 1
    assert len(engine.calls) == 1


async def test_a_stream_does_not_wait_for_long(cached: GatewayProcess, other: GatewayProcess, engine: FakeEngine) -> None:
    """While another gateway waits for its answer without end, it is asked for here."""
    engine.upcoming.append(Script(ttft=30))
    body = ask()
    first = asyncio.ensure_future(crowd(cached, body))
    await asyncio.to_thread(engine.wait_for_call)
    (answer,) = await crowd(other, body | FORMS["stream"])

    assert cache(answer) == "MISS"
    assert len(engine.calls) == 2
    first.cancel()
    await asyncio.wait([first])


async def test_a_gateway_that_dies_leaves_nobody_waiting(other: GatewayProcess, engine: FakeEngine, redis: RedisServer) -> None:
    """Its lease runs out, and who waited for its answer asks for himself."""
    engine.upcoming.append(Script(ttft=30))
    body = ask()
    with replica(engine, redis, cache__lease=1) as dying:
        first = asyncio.ensure_future(crowd(ready(dying), body))
        await asyncio.to_thread(engine.wait_for_call)
        second = asyncio.ensure_future(crowd(other, body))
        dying.process.kill()
        (answer,) = await second
        await asyncio.wait([first])

    assert cache(answer) == "MISS"
    assert len(engine.calls) == 2


def test_a_restart_forgets_nothing(other: GatewayProcess, engine: FakeEngine, redis: RedisServer) -> None:
    """Neither answers nor which picture some bytes are: a hit opens no picture."""
    body = ask(pictures=(data_uri(picture(colour="navy")),))
    miss = other.chat(body)
    with replica(engine, redis) as started:
        hit = ready(started).chat(body)

        assert (cache(hit), said(hit)) == ("HIT", said(miss))
        assert prepared(started) == 0
    assert len(engine.calls) == 1


def test_without_redis_each_has_its_own(engine: FakeEngine) -> None:
    """`memory://`: hits in either form, and purged as in Redis."""
    body = ask(pictures=(data_uri(picture(colour="navy")),))
    with GatewayProcess(engine.url, environ=environment(store="memory://")) as alone:
        miss, hit = ready(alone).chat(body), alone.chat(body | FORMS["stream"])
        purged = alone.client.delete(f"/v1/cache/images/{hit.headers['x-image-hash']}").json()["answers"]

        assert (cache(miss), cache(hit), purged, cache(alone.chat(body))) == ("MISS", "HIT", 1, "MISS")
    with GatewayProcess(engine.url, environ=environment(store="memory://")) as another:
        assert cache(ready(another).chat(body)) == "MISS"
