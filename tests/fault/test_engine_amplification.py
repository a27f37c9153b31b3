"""When every engine fails, retries do not make it worse: at most 1.2 calls a request.

On top come three a second, so that a quiet gateway can retry too, and at most ten seconds of those saved up.
"""

import time
from concurrent.futures import ThreadPoolExecutor

from tests.fakes.engine import FakeEngine
from tests.fakes.script import refusal
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask

REQUESTS = 600
SAVED = 30


def test_at_100_percent_failures_engines_see_at_most_a_fifth_more_calls() -> None:
    with (
        FakeEngine(script=refusal(500)) as one,
        FakeEngine(script=refusal(500)) as two,
        GatewayProcess(one.url, two.url, environ=environment(cache__enabled="false")) as gateway,
    ):
        ready(gateway)
        started = time.monotonic()

        with ThreadPoolExecutor(16) as threads:
            statuses = list(threads.map(lambda _: gateway.chat(ask()).status_code, range(REQUESTS)))
        took = time.monotonic() - started

        assert set(statuses) == {502}
        assert REQUESTS <= len(one.calls) + len(two.calls) <= 1.2 * REQUESTS + SAVED + 3 * took


def test_a_single_engine_that_fails_is_still_asked_and_not_ejected() -> None:
    with FakeEngine(script=refusal(500)) as engine, GatewayProcess(engine.url, environ=environment(cache__enabled="false")) as gateway:
        ready(gateway)
        for _ in range(20):
            gateway.chat(ask())
        assert len(engine.calls) == 20

        engine.forget()
        assert gateway.chat(ask()).status_code == 200
