"""The series of the contract are there, count what happened, and their labels stay bounded whatever callers send."""

import re
import subprocess

from tests.fakes.engine import FakeEngine, Fault, Script
from tests.serving import GatewayProcess, eventually
from tests.shapes import ask, data_uri, picture

SERIES = """
requests_total request_duration_seconds time_to_first_token_seconds inter_token_latency_seconds engine_duration_seconds overhead_seconds
cache_requests_total coalesced_total tokens_total image_bytes image_pixels image_prepare_seconds image_fetch_total image_rejected_total
rate_limited_total backend_errors_total backend_breaker_state engine_up engine_retries_total in_flight_requests in_flight_bytes
client_disconnects_total event_loop_lag_seconds
""".split()


def value(metrics: str, series: str) -> float:
    return next((float(line.rsplit(" ", 1)[1]) for line in metrics.splitlines() if line.startswith(f"sightline_{series}")), 0.0)


def test_every_series_of_the_contract_is_there(gateway: GatewayProcess) -> None:
    metrics = gateway.client.get("/metrics").text

    missing = [
        name
        for name in SERIES
        if f"# TYPE sightline_{name} " not in metrics and f"# TYPE sightline_{name.removesuffix('_total')} " not in metrics
    ]
    assert missing == []


def test_prometheus_finds_nothing_to_say_about_them(gateway: GatewayProcess) -> None:
    gateway.chat(ask(pictures=(data_uri(picture()),), stream=True))
    shown = gateway.client.get("/metrics").text

    checked = subprocess.run(["promtool", "check", "metrics"], input=shown, capture_output=True, text=True, timeout=30, check=False)

    assert (checked.returncode, checked.stdout, checked.stderr) == (0, "", "")


def test_a_request_is_counted_with_its_status_model_and_tokens(gateway: GatewayProcess) -> None:
    labels = 'requests_total{cache="BYPASS",model="fake-vl",route="/v1/chat/completions",status="200"}'
    before = gateway.client.get("/metrics").text

    usage = gateway.chat(ask(pictures=(data_uri(picture()),))).json()["usage"]
    after = gateway.client.get("/metrics").text

    assert value(after, labels) == value(before, labels) + 1
    for kind in ("prompt", "completion"):
        series = f'tokens_total{{kind="{kind}",model="fake-vl"}}'
        assert value(after, series) == value(before, series) + usage[f"{kind}_tokens"]
    picture_tokens = 'tokens_total{kind="image",model="fake-vl"}'
    assert value(after, picture_tokens) > value(before, picture_tokens)
    assert value(after, "engine_up") == 1


def test_an_engine_that_fails_within_its_answer_is_counted(gateway: GatewayProcess, engine: FakeEngine) -> None:
    series = 'backend_errors_total{backend="engine",operation="engine_error"}'
    before = gateway.client.get("/metrics").text

    engine.script = Script(fault=Fault.CUT, after=2)
    gateway.chat(ask(stream=True))
    eventually(lambda: value(gateway.client.get("/metrics").text, series) == value(before, series) + 1, 5, series)


def test_many_models_and_paths_make_few_series(gateway: GatewayProcess) -> None:
    for number in range(200):
        gateway.chat(ask(model=f"made-up-{number}"))
        gateway.client.get(f"/made-up-{number}")
        gateway.client.get(f"/v1/models/made-up-{number}")

    metrics = gateway.client.get("/metrics").text
    assert "made-up" not in metrics
    assert len(re.findall(r"^sightline_requests_total\{", metrics, re.MULTILINE)) < 40
