"""No packet waits for the one before it to be acknowledged (Nagle and delayed ACK cost 40 ms a token): TCP_NODELAY is set both ways."""

import signal
import sys
from pathlib import Path

from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask

PROBE = (sys.executable, str(Path(__file__).parent / "probe" / "sockets.py"))


def test_nodelay_is_set_towards_client_and_engine(engine: FakeEngine) -> None:
    engine.script = Script(rate=5, tokens=1000)
    with GatewayProcess(engine.url, command=PROBE, environ=environment()) as gateway:
        ready(gateway)
        with gateway.client.stream("POST", "/v1/chat/completions", json=ask(stream=True)):
            gateway.signal(signal.SIGUSR1)
            eventually(lambda: gateway.events("probe.connections"), what="the probe's line")

        connections = gateway.events("probe.connections")[0]["connections"]

    to_clients = [found["nodelay"] for found in connections if found["here"] == gateway.port]
    to_engine = [found["nodelay"] for found in connections if found["there"] == engine.port]
    assert to_clients
    assert to_engine
    assert all(to_clients + to_engine), connections
