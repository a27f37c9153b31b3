"""A traced request is one trace: its own span, a span for each stage of it, and the engine's as their child. Sent to a real collector."""

import subprocess
from collections.abc import Iterator

import pytest
from tests.fakes.collector import Collector, Span
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.script import refusal
from tests.serving import COMMAND, GatewayProcess, environment, ready
from tests.shapes import ask, data_uri, picture

CANARY = "canary-5d41402abc4b"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def _traced(collector: Collector, _engine: FakeEngine) -> Iterator[GatewayProcess]:
    environ = environment(traces__endpoint=collector.endpoint) | {"OTEL_BSP_SCHEDULE_DELAY": "50"}
    with GatewayProcess(_engine.url, environ=environ) as gateway:
        yield gateway


@pytest.fixture
def traced(_traced: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    return ready(_traced)


def spans_of(collector: Collector, headers: "object") -> tuple[Span, dict[str, Span]]:
    return collector.trace_of(headers["x-request-id"])  # type: ignore[index]  # httpx's headers


def test_a_miss_went_through_all_stages(traced: GatewayProcess, collector: Collector) -> None:
    answer = traced.chat(ask(pictures=(data_uri(picture(colour="teal")),)))

    root, stages = spans_of(collector, answer.headers)

    assert set(stages) == {"intake", "prepare", "limits and cache", "chat fake-vl"}
    assert all(root.began <= stage.began <= stage.ended <= root.ended for stage in stages.values())
    usage = answer.json()["usage"]
    wanted = {
        "http.route": "/v1/chat/completions",
        "http.response.status_code": 200,
        "gen_ai.operation.name": "chat",
        "gen_ai.request.model": "fake-vl",
        "gen_ai.usage.input_tokens": usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
        "sightline.cache": "MISS",
    }
    assert wanted.items() <= root.attributes.items()
    assert stages["chat fake-vl"].events == ("gen_ai.first_token",)
    assert not root.failed


def test_a_hit_went_to_no_engine(traced: GatewayProcess, collector: Collector) -> None:
    body = ask()
    traced.chat(body)

    root, stages = spans_of(collector, traced.chat(body).headers)

    assert (root.attributes["sightline.cache"], set(stages)) == ("HIT", {"intake", "limits and cache"})
    assert stages["limits and cache"].attributes["found"] == "hit"


def test_a_stream_s_engine_span_lasts_until_its_last_chunk(traced: GatewayProcess, collector: Collector, engine: FakeEngine) -> None:
    engine.script = Script(rate=50, tokens=10)

    _, stages = spans_of(collector, traced.chat(ask(stream=True)).headers)

    assert stages["chat fake-vl"].ended - stages["chat fake-vl"].began > 150e6  # nine pauses of 20 ms


def test_the_caller_s_trace_goes_on_and_the_engine_hears_of_it(traced: GatewayProcess, collector: Collector, engine: FakeEngine) -> None:
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

    answer = traced.chat(ask(), headers={"traceparent": parent})

    root, _ = spans_of(collector, answer.headers)
    assert (root.trace_id, root.parent_id) == tuple(parent.split("-")[1:3])
    assert engine.calls[-1].headers["traceparent"] == f"00-{root.trace_id}-{root.span_id}-01"
    assert traced.finished(answer.headers["x-request-id"])["trace_id"] == root.trace_id


@pytest.mark.parametrize(
    ("script", "stream", "code", "failed"),
    [
        (refusal(400), False, "invalid_value", False),
        (Script(fault=Fault.HANG_UP), False, "engine_error", True),
        (Script(fault=Fault.CUT, after=2), True, "engine_error", True),
    ],
    ids=["refused", "failed", "broken off"],
)
def test_what_failed_is_told_by_its_code(
    traced: GatewayProcess, collector: Collector, engine: FakeEngine, script: Script, stream: bool, code: str, failed: bool
) -> None:
    engine.script = script

    root, _ = spans_of(collector, traced.chat(ask(stream=stream)).headers)

    assert (root.attributes["error.type"], root.failed) == (code, failed)


def test_nothing_that_was_said_is_in_a_span(traced: GatewayProcess, collector: Collector, engine: FakeEngine) -> None:
    engine.script = Script(text=f"answer {CANARY}")
    picture_url = f"http://10.0.0.1/x.png?{CANARY}"

    for body in (ask(f"question {CANARY}"), ask(f"look {CANARY}", pictures=(picture_url,))):
        answer = traced.chat(body, headers={"authorization": f"Bearer {CANARY}"})
        spans_of(collector, answer.headers)

    assert CANARY.encode() not in collector.raw


def test_without_its_extra_the_setting_is_refused_in_one_line() -> None:
    hide = "import sys; sys.modules['opentelemetry.sdk.trace'] = None; from sightline.cli.main import main; sys.argv = sys.argv[1:]; main()"
    python = COMMAND[0].replace("sightline", "python") if COMMAND[0].endswith("sightline") else "python"

    done = subprocess.run(
        [python, "-c", hide, "sightline", "check-config"],
        env=environment(traces__endpoint="http://127.0.0.1:4318/v1/traces"),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )

    assert done.returncode != 0
    assert done.stderr.count("\n") == 1
    assert "sightline[otel]" in done.stderr
