"""Many large bodies at once are refused beyond what memory holds: 32 bodies of 20 MB pictures never take the process over 1 GB."""

import json
import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pybase64
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, Raw, environment, read_response, ready
from tests.shapes import ask, head, picture

BODIES = 32
GIGABYTE = 10**9


def large_body() -> bytes:
    """A picture of nearly 20 MB as a data URI in a request, ending where a tail can make each another picture."""
    padded = picture(400, 400) + random.Random(1).randbytes(19_999_000)
    body = json.dumps(ask("what?", pictures=("data:image/png;base64,HERE",)))
    before, after = body.split("HERE")
    return before.encode() + pybase64.b64encode(padded[: len(padded) // 3 * 3]) + b"%08d" + after.encode()


def test_32_bodies_of_20_mb_stay_below_a_gigabyte() -> None:
    before, after = large_body().split(b"%08d")
    with FakeEngine(script=Script(ttft=1)) as engine, GatewayProcess(engine.url, environ=environment()) as gateway:
        engine.keep_bodies = False
        ready(gateway)
        gateway.chat(ask(pictures=()))  # so that what is loaded once is loaded

        all_sent = threading.Barrier(BODIES, timeout=60)

        def send(number: int) -> Raw:
            with gateway.connect(60) as wire:
                wire.sendall(head(len(before) + 8 + len(after)))
                wire.sendall(before)
                all_sent.wait()  # so that all of them are under way at once
                wire.sendall(b"%08d" % number + after)
                return read_response(wire)

        with ThreadPoolExecutor(BODIES) as threads:
            answers = list(threads.map(send, range(BODIES)))

        statuses = [answer.status for answer in answers]
        assert set(statuses) <= {200, 413, 503}, statuses
        assert statuses.count(200) >= 4, statuses
        assert statuses.count(503) + statuses.count(413) >= BODIES // 2, statuses
        assert all("retry-after" in answer.headers and b'"overloaded"' in answer.body for answer in answers if answer.status == 503)
        assert gateway.peak_memory() < GIGABYTE, gateway.peak_memory()
        assert gateway.chat(ask()).status_code == 200
        assert "sightline_in_flight_bytes 0.0" in gateway.client.get("/metrics").text
