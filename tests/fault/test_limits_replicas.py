"""Two whole gateways on one Redis admit, together and to the last request, what the key's limit says; in one round trip a hit."""

import asyncio
import contextlib
import re
import socket
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.redis_server import RedisServer
from tests.keyring import KeyRing, bearer
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask

CALLERS = 200
LIMIT = 8  # a minute: the next one flows back after 7.5 s, long after all callers have been told


@pytest.fixture(scope="module")
def engine() -> Iterator[FakeEngine]:
    with FakeEngine() as engine:
        yield engine


class Pair:
    def __init__(self, folder: Path, redis: RedisServer, first: GatewayProcess, second: GatewayProcess, keys: KeyRing) -> None:
        self.folder, self.redis, self.gateways, self.keys = folder, redis, (first, second), keys

    def crowd(self, key: str, count: int = CALLERS) -> list[httpx.Response]:
        """So many callers at once on one key, every other one at the other gateway."""

        async def all_at_once() -> list[httpx.Response]:
            limits = httpx.Limits(max_connections=count)
            async with httpx.AsyncClient(limits=limits, timeout=60, headers=bearer(key)) as client:
                asked = (client.post(f"{self.gateways[i % 2].url}/v1/chat/completions", json=ask()) for i in range(count))
                return await asyncio.gather(*asked)

        return asyncio.run(all_at_once())


@pytest.fixture
def pair(tmp_path: Path, redis_server: RedisServer, engine: FakeEngine) -> Iterator[Pair]:
    engine.forget()
    keys = KeyRing(tmp_path / "keys.yaml")
    keys.new("other")
    settings = environment(keys_file=keys.file, store=redis_server.url, cache__timeout=5)
    with GatewayProcess(engine.url, environ=settings) as first, GatewayProcess(engine.url, environ=settings) as second:
        yield Pair(tmp_path, redis_server, ready(first), ready(second), keys)


def new_key(pair: Pair, **limits: Any) -> str:
    key = pair.keys.new(limits=limits)
    for gateway in pair.gateways:
        eventually(partial(knows, gateway, key), 10, "the new key")
    return key


def knows(gateway: GatewayProcess, key: str) -> bool:
    return gateway.client.get("/v1/models", headers=bearer(key)).status_code == 200


def count(answers: list[httpx.Response], status: int) -> int:
    return sum(answer.status_code == status for answer in answers)


def test_of_200_at_once_as_many_are_admitted_as_the_limit_says(pair: Pair) -> None:
    answers = pair.crowd(new_key(pair, requests_per_minute=LIMIT))

    assert count(answers, 200) == LIMIT
    assert count(answers, 429) == CALLERS - LIMIT


def test_of_200_at_once_as_many_are_under_way_as_may_be(pair: Pair, engine: FakeEngine) -> None:
    engine.script = Script(ttft=5)

    answers = pair.crowd(new_key(pair, concurrent_requests=LIMIT))

    assert count(answers, 200) == LIMIT
    assert {answer.json()["error"]["code"] for answer in answers if answer.status_code == 429} == {"concurrency_limit_exceeded"}


def test_without_redis_both_together_stay_within_the_limit(pair: Pair) -> None:
    key = new_key(pair, requests_per_minute=LIMIT)
    replicas = "sightline:limits:replicas"
    begun = pair.redis.tell("ZRANGE", replicas, 0, -1, "WITHSCORES").split()
    assert len(begun) == 4
    # Each counts the others once in ten seconds: both have when both have given a sign of life after this one.
    eventually(lambda: not set(begun[1::2]) & set(pair.redis.tell("ZRANGE", replicas, 0, -1, "WITHSCORES").split()), 25, "signs of life")
    pair.redis.kill()

    answers = pair.crowd(key)

    assert 2 <= count(answers, 200) <= LIMIT
    assert count(answers, 200) + count(answers, 429) == CALLERS
    for gateway in pair.gateways:
        eventually(partial(gateway.events, "limits.local_share"), what="a line that limits are local")
        (line,) = gateway.events("limits.local_share")
        assert line["replicas"] == 2


def test_a_hit_is_one_round_trip_to_redis(pair: Pair) -> None:
    key = new_key(pair, requests_per_minute=1000, tokens_per_minute=1_000_000, concurrent_requests=10)
    gateway = pair.gateways[0]
    assert gateway.chat(ask("kept"), headers=bearer(key)).headers["x-cache"] == "MISS"
    held = "sightline:limits:{acme}:key:key_1:slots"
    eventually(lambda: gateway.chat(ask("kept"), headers=bearer(key)).headers["x-cache"] == "HIT", what="the answer to be kept")
    eventually(lambda: pair.redis.tell("EXISTS", held) == b":0", what="the miss to be settled")

    with commands(pair.redis) as seen:
        for _ in range(10):
            assert gateway.chat(ask("kept"), headers=bearer(key)).headers["x-cache"] == "HIT"

    asked = [line for line in seen if "kept" not in line and "replicas" not in line]
    assert [line.split()[0] for line in asked] == ['"EVALSHA"'] * 10


@contextlib.contextmanager
def commands(redis: RedisServer) -> Iterator[list[str]]:
    """What clients send while the block runs, one line a command, without what scripts do inside the server."""
    seen: list[str] = []
    with socket.create_connection(("127.0.0.1", redis.port), 5) as wire, wire.makefile("r") as lines:
        wire.sendall(b"MONITOR\r\n")
        assert lines.readline() == "+OK\n"
        yield seen
        redis.tell("PING", "the end")
        for line in lines:
            if "the end" in line:
                return
            found = re.match(r"\+[\d.]+ \[\d+ (?!lua)[^\]]*\] (.*)", line)
            if found:
                seen.append(found[1])
