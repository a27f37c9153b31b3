"""Two gateways behind nginx are restarted, one after the other, under load: every request is answered, every stream comes to its end."""

import signal
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import httpx
from tests.deploy.proxy import Nginx
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask

CLIENTS = 4


def test_nothing_is_lost(engine: FakeEngine, tmp_path: Path) -> None:
    engine.script = Script(rate=50, tokens=10)  # streams of a fifth of a second: some are under way whenever a gateway is told to go
    settings = environment(trusted_proxies="127.0.0.1", timeouts__drain=10)
    gateways = [GatewayProcess(engine.url, environ=settings) for _ in range(2)]
    stop = threading.Event()
    with ExitStack() as stack, ThreadPoolExecutor(CLIENTS) as threads:
        for gateway in gateways:
            ready(stack.enter_context(gateway))
        nginx = stack.enter_context(Nginx(tmp_path / "etc", *(f"127.0.0.1:{gateway.port}" for gateway in gateways)))
        stack.callback(stop.set)
        load = [threads.submit(asked_on_and_on, nginx.url, stop) for _ in range(CLIENTS)]

        for gateway in gateways:
            gateway.signal(signal.SIGTERM)
            assert gateway.process.wait(15) == 0
            gateway.__exit__(None, None, None)
            ready(gateway.__enter__())  # on its old port

        before = len(engine.calls)
        engine.wait_for(lambda: len(engine.calls) > before + 4 * CLIENTS)  # the load goes on with both as new
        stop.set()
        outcomes = sum((client.result(10) for client in load), Counter[str]())
        served = Counter(line["gateway"].rpartition(", ")[2] for line in nginx.lines())

    assert set(outcomes) == {"answered"}, outcomes
    assert outcomes.total() > 10 * CLIENTS
    assert set(served) == {f"127.0.0.1:{gateway.port}" for gateway in gateways}


def asked_on_and_on(url: str, stop: threading.Event) -> Counter[str]:
    """One client with a connection of its own, by turns streamed and not; how its requests ended."""
    outcomes: Counter[str] = Counter()
    with httpx.Client(base_url=url, timeout=20) as client:
        while not stop.is_set():
            for stream in (True, False):
                try:
                    answer = client.post("/v1/chat/completions", json=ask(stream=stream))
                except httpx.TransportError as error:
                    outcomes[repr(error)] += 1
                    continue
                whole = answer.text.endswith("data: [DONE]\n\n") if stream else answer.text.endswith("}")
                outcomes["answered" if answer.status_code == 200 and whole else f"{answer.status_code}: {answer.text[-300:]}"] += 1
    return outcomes
