"""Engines behind `dns+http://name:port`, over real sockets: who appears is asked, who disappears is left alone but may finish."""

import json
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.exposition import exposed
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.pouring import Reader
from tests.fakes.until import until
from tests.serving import GatewayProcess, environment, eventually
from tests.shapes import ask

from sightline.engines.pool import Answered, Pool
from sightline.limits.admission import Admission
from sightline.settings import load
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import Base64, EngineQuestion, Parser
from sightline.wire.reply import Whole


@pytest.fixture
def engines() -> Iterator[list[FakeEngine]]:
    """Three at one port, each at an address of its own, as pods are."""
    with (
        FakeEngine(host="127.0.0.1") as one,
        FakeEngine(host="127.0.0.2", port=one.port) as two,
        FakeEngine(host="127.0.0.3", port=one.port) as three,
    ):
        yield [one, two, three]


class Name:
    """What the name server says; the pool and the metrics that follow it."""

    def __init__(self, port: int) -> None:
        self.addresses: Sequence[str] = ()
        self.metrics = Metrics()
        settings = load(None, {"SIGHTLINE_ENGINES": f"dns+http://engines:{port}"})
        admission = Admission(settings.limits, lambda: 0.0)
        self.pool = Pool(settings, admission, self.metrics, resolve=self._resolve, look_every=0.01)
        self._parser = Parser(settings.requests, 16)

    async def _resolve(self, _host: str) -> Sequence[str]:
        if not self.addresses:
            raise OSError("no such name")
        return self.addresses

    @asynccontextmanager
    async def followed(self, *addresses: str) -> AsyncIterator[None]:
        self.addresses = addresses
        async with self.pool:
            yield

    async def becomes(self, *addresses: str) -> None:
        """Until the pool has heard of it."""
        self.addresses = addresses

        async def heard() -> bool:
            return sorted(m.name.partition(":")[0] for m in self.pool.members if m.up) == sorted(addresses)

        await until(heard)

    async def ask(self, *, stream: bool = False) -> Answered:
        request = self._parser.parse(json.dumps(ask(stream=stream)).encode())
        return await self.pool.ask(EngineQuestion(request, (), "salt"), _no_pictures, affinity=None)

    def ready(self) -> bool:
        return self.pool.ready

    def up(self) -> list[str]:
        return [line for line in exposed(self.metrics).splitlines() if line.startswith(("sightline_engine_up{", "sightline_engine_dur"))]


async def _no_pictures(_place: int) -> Sequence[Base64]:
    raise AssertionError("there are none")


async def test_an_engine_that_appears_is_asked_and_one_that_disappears_is_not(engines: list[FakeEngine]) -> None:
    one, two, three = engines
    name = Name(one.port)
    async with name.followed("127.0.0.1", "127.0.0.2"):
        assert isinstance((await name.ask()).reply, Whole)
        await name.becomes("127.0.0.2", "127.0.0.3")
        for engine in engines:
            engine.forget()
        begun = [await name.ask(stream=True) for _ in range(4)]  # text goes to the least loaded
        assert [len(engine.calls) for engine in (one, two, three)] == [0, 2, 2]
        for answered in begun:
            assert not isinstance(answered.reply, Whole)
            await answered.reply.aclose()


async def test_who_disappears_finishes_what_it_has_begun(engines: list[FakeEngine]) -> None:
    one, *_ = engines
    one.script = Script(rate=100, tokens=40)
    name = Name(one.port)
    async with name.followed("127.0.0.1"):
        answered = await name.ask(stream=True)
        assert not isinstance(answered.reply, Whole)
        reader = Reader(answered.reply)
        chunks = [*await reader.read()]
        await name.becomes("127.0.0.2")
        assert len(chunks) < 20
        chunks += await reader.rest()
    assert len(chunks) > 40
    assert b'"choices":[]' in chunks[-1]


async def test_who_disappears_leaves_no_series_behind(engines: list[FakeEngine]) -> None:
    one, *_ = engines
    name = Name(one.port)
    async with name.followed("127.0.0.1"):
        await name.ask()
        assert any(f'engine="127.0.0.1:{one.port}"' in line for line in name.up())
        await name.becomes("127.0.0.2")

        async def gone() -> bool:  # it is asked nothing more a moment before its series go
            return not any("127.0.0.1" in line for line in name.up())

        await until(gone)
        assert [line for line in name.up() if "127.0.0.1" in line] == []
        assert name.up() == [f'sightline_engine_up{{engine="127.0.0.2:{one.port}"}} 1.0']


async def test_a_name_without_engines_is_an_engine_that_is_down(engines: list[FakeEngine]) -> None:
    one, *_ = engines
    name = Name(one.port)
    async with name.followed():
        assert not name.ready()
        assert name.up() == [f'sightline_engine_up{{engine="engines:{one.port}"}} 0.0']
        await name.becomes("127.0.0.1")
        assert name.ready()
        await until(lambda: _is(name.up() == [f'sightline_engine_up{{engine="127.0.0.1:{one.port}"}} 1.0']))


def test_a_gateway_asks_the_machines_own_resolver(engines: list[FakeEngine]) -> None:
    one, *_ = engines
    with GatewayProcess(f"dns+http://localhost:{one.port}/v1", environ=environment(cache__enabled="false")) as gateway:
        eventually(lambda: gateway.client.get("/health/ready").status_code == 200, what="ready")
        assert gateway.chat(ask()).status_code == 200
        assert len(one.calls) == 1
        assert gateway.events("engine.joined")


async def _is(value: bool) -> bool:
    return value
