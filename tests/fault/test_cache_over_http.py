"""Redis breaks under load: every request is answered, if need be without the cache, and five seconds after its return there are hits."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Self

import httpx
import pytest
from tests.fakes.engine import FakeEngine
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask, question

Fault = Callable[[RedisServer], contextlib.AbstractContextManager[None]]
HEALED = 5.0


class Load:
    """Clients that each ask something new and something known in turn, until the block ends. `answers`: (begun at, response)."""

    def __init__(self, gateway: GatewayProcess, clients: int = 6) -> None:
        self.answers: list[tuple[float, httpx.Response]] = []
        self.failures: list[Exception] = []
        self._gateway = gateway
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def goes_on(self, count: int = 100) -> None:
        """Until so many more have been answered."""
        wanted = len(self.answers) + count
        eventually(lambda: len(self.answers) >= wanted, 20, f"{count} more answers ({self.failures})")

    def since(self, at: float) -> list[str]:
        """What the cache did for the requests that began after `at`."""
        return [answer.headers["x-cache"] for begun, answer in self.answers if begun > at]

    def _ask(self) -> None:
        with httpx.Client(base_url=self._gateway.url, timeout=20, verify=False) as client:
            while not self._over.is_set():
                for text in (question(), "what everybody asks"):
                    begun = time.monotonic()
                    try:
                        self.answers.append((begun, client.post("/v1/chat/completions", json=ask(text))))
                    except httpx.HTTPError as error:
                        self.failures.append(error)


@contextlib.contextmanager
def killed(server: RedisServer) -> Iterator[None]:
    server.kill()
    yield
    server.start()


@contextlib.contextmanager
def stopped(server: RedisServer) -> Iterator[None]:
    server.pause()
    yield
    server.resume()


@contextlib.contextmanager
def full(server: RedisServer) -> Iterator[None]:
    server.tell("CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
    yield
    server.tell("CONFIG", "SET", "maxmemory", "0")


@contextlib.contextmanager
def read_only(server: RedisServer) -> Iterator[None]:
    """A replica of nobody (READONLY)."""
    server.tell("REPLICAOF", "127.0.0.1", "1")
    yield
    server.tell("REPLICAOF", "NO", "ONE")


@pytest.fixture
def gateway(redis_server: RedisServer) -> Iterator[GatewayProcess]:
    with FakeEngine() as engine, GatewayProcess(engine.url, environ=environment(store=redis_server.url)) as gateway:
        engine.keep_bodies = False
        yield ready(gateway)


def hits(gateway: GatewayProcess) -> bool:
    """Whether something new is kept and found."""
    body = ask()
    return [gateway.chat(body).headers["x-cache"] for _ in range(2)] == ["MISS", "HIT"]


@pytest.mark.parametrize("fault", [killed, stopped, full, read_only])
def test_no_request_is_lost(gateway: GatewayProcess, redis_server: RedisServer, fault: Fault) -> None:
    eventually(lambda: hits(gateway), what="a hit before")
    with Load(gateway) as load:
        load.goes_on()
        with fault(redis_server):
            broken = time.monotonic()
            load.goes_on(300)
            outcomes = set(load.since(broken))
        back = time.monotonic()
        eventually(lambda: hits(gateway), HEALED, "hits again")
        healed = time.monotonic() - back
        load.goes_on()

    assert load.failures == []
    assert {answer.status_code for _, answer in load.answers} == {200}
    assert outcomes <= ({"BYPASS", "COALESCED"} if fault in {killed, stopped} else {"BYPASS", "MISS", "HIT", "COALESCED"})
    assert "HIT" in load.since(back + healed)


def test_an_outage_costs_one_log_line(gateway: GatewayProcess, redis_server: RedisServer) -> None:
    """Not one a request, and one more when it is over."""
    redis_server.kill()
    with Load(gateway) as load:
        load.goes_on(200)
    redis_server.start()
    eventually(lambda: hits(gateway), HEALED, "hits again")

    eventually(lambda: gateway.events("store.healed"), what="a line that it is over")
    assert (len(gateway.events("store.failed")), len(gateway.events("store.healed"))) == (1, 1)
