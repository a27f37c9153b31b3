"""Each series counts what it says: something is done that it should count, and it has grown by just that."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml
from tests.caching import crowd, in_flight, write_keys
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, eventually, free_port, ready
from tests.shapes import ask, data_uri, picture

Drive = Callable[[GatewayProcess, FakeEngine], None]


def number(gateway: GatewayProcess, series: str) -> float:
    lines = gateway.client.get("/metrics").text.splitlines()
    return next((float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(f"sightline_{series} ")), 0.0)


def asked(gateway: GatewayProcess, _: FakeEngine) -> None:
    gateway.chat(ask())


def repeated(gateway: GatewayProcess, _: FakeEngine) -> None:
    body = ask()
    gateway.chat(body)
    gateway.chat(body)


def streamed(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(rate=200, tokens=5)
    gateway.chat(ask(stream=True))


def at_once(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=0.3)
    body = ask()
    asyncio.run(crowd(gateway, body, body))


def with_a_picture(gateway: GatewayProcess, _: FakeEngine) -> None:
    gateway.chat(ask(pictures=(data_uri(picture(40, 20, "olive")),)))


def with_no_picture(gateway: GatewayProcess, _: FakeEngine) -> None:
    gateway.chat(ask(pictures=(data_uri(b"<svg/>"),)))


def with_a_forbidden_url(gateway: GatewayProcess, _: FakeEngine) -> None:
    gateway.chat(ask(pictures=("http://10.0.0.1/x.png",)))


def left(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.upcoming.append(Script(ttft=5))
    with pytest.raises(Exception, match="timed out"):
        gateway.chat(ask(), timeout=0.3)


def broken_off(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(fault=Fault.CUT, after=2)
    gateway.chat(ask(stream=True))


def hung_up_on(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.upcoming.append(Script(fault=Fault.HANG_UP))
    gateway.chat(ask())


OURS = 'cache="MISS",model="fake-vl"'


@pytest.fixture(scope="module")
def _watched(_engine: FakeEngine) -> Iterator[GatewayProcess]:
    with GatewayProcess(_engine.url) as gateway:
        yield gateway


@pytest.fixture
def watched(_watched: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    return ready(_watched)


@pytest.mark.parametrize(
    ("series", "grows", "drive"),
    [
        (f'requests_total{{{OURS},route="/v1/chat/completions",status="200"}}', 1, asked),
        ('request_duration_seconds_count{cache="MISS",model="fake-vl",route="/v1/chat/completions"}', 1, asked),
        (f"time_to_first_token_seconds_count{{{OURS}}}", 1, streamed),
        ("overhead_seconds_count", 2, repeated),
        ('cache_requests_total{result="hit"}', 1, repeated),
        ('cache_requests_total{result="miss"}', 1, repeated),
        ('cache_requests_total{result="coalesced"}', 1, at_once),
        ("coalesced_total", 1, at_once),
        ("image_bytes_count", 1, with_a_picture),
        ("image_pixels_sum", 800, with_a_picture),
        ('image_rejected_total{code="unsupported_image_media_type"}', 1, with_no_picture),
        ('image_fetch_total{result="refused"}', 1, with_a_forbidden_url),
        ("client_disconnects_total", 1, left),
        ('backend_errors_total{backend="engine",operation="engine_error"}', 1, broken_off),
        ('engine_retries_total{reason="engine_error"}', 1, hung_up_on),
    ],
    ids=lambda value: value.partition("{")[0] if isinstance(value, str) else getattr(value, "__name__", None),
)
def test_it_counts(watched: GatewayProcess, engine: FakeEngine, series: str, grows: float, drive: Drive) -> None:
    labels = dict(pair.split("=") for pair in series.partition("{")[2].rstrip("}").split(",") if pair)
    before = _sum(watched, series.partition("{")[0], labels)

    drive(watched, engine)

    eventually(lambda: _sum(watched, series.partition("{")[0], labels) == before + grows, 5, f"{series} grown by {grows}")


def _sum(gateway: GatewayProcess, name: str, labels: dict[str, str]) -> float:
    lines = gateway.client.get("/metrics").text.splitlines()
    mine = [line for line in lines if line.startswith((f"sightline_{name}{{", f"sightline_{name} "))]
    return sum(float(line.rsplit(" ", 1)[1]) for line in mine if all(f"{key}={value}" in line for key, value in labels.items()))


def test_tokens_and_seconds_that_a_hit_saved(watched: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=0.2)
    body = ask()
    usage = watched.chat(body).json()["usage"]
    tokens, seconds = (_sum(watched, name, {"model": '"fake-vl"'} | kind) for name, kind in SAVED)

    watched.chat(body)

    after_tokens, after_seconds = (_sum(watched, name, {"model": '"fake-vl"'} | kind) for name, kind in SAVED)
    assert after_tokens - tokens == usage["prompt_tokens"] + usage["completion_tokens"]
    assert 0 < after_seconds - seconds < 0.5


SAVED: tuple[tuple[str, dict[str, str]], ...] = (("tokens_total", {"kind": '"saved"'}), ("engine_seconds_saved_total", {}))


def test_engine_duration_prepare_time_and_loop_lag_are_times(watched: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(ttft=0.2)
    before = _sum(watched, "engine_duration_seconds_sum", {})
    prepared = _sum(watched, "image_prepare_seconds_count", {})

    watched.chat(ask(pictures=(data_uri(picture(41, 21, "navy")),)))

    assert 0.2 <= _sum(watched, "engine_duration_seconds_sum", {}) - before < 2
    assert _sum(watched, "image_prepare_seconds_count", {}) == prepared + 1
    eventually(lambda: _sum(watched, "event_loop_lag_seconds_count", {}) > 0, 5, "a look at the loop")


def test_pauses_between_chunks(watched: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(rate=20, tokens=5)
    before = _sum(watched, "inter_token_latency_seconds_sum", {})

    watched.chat(ask(stream=True))

    assert 0.15 < _sum(watched, "inter_token_latency_seconds_sum", {}) - before < 2


def test_what_runs_here_is_told(watched: GatewayProcess) -> None:
    (line,) = [line for line in watched.client.get("/metrics").text.splitlines() if line.startswith("sightline_build_info{")]
    assert 'version="0.1.0"' in line
    assert line.endswith(" 1.0")


def test_what_is_under_way(watched: GatewayProcess, engine: FakeEngine) -> None:
    engine.upcoming.append(Script(ttft=0.5))
    with watched.connect() as wire:
        body = b'{"model":"fake-vl","messages":[{"role":"user","content":"wait"}]}'
        wire.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
        wire.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        eventually(lambda: in_flight(watched) == 1, what="one request in flight")
        assert number(watched, "in_flight_bytes") == len(body)
    eventually(lambda: in_flight(watched) == 0 and number(watched, "in_flight_bytes") == 0, what="nothing in flight")


def test_what_is_shed_is_counted_by_its_reason(engine: FakeEngine) -> None:
    engine.script = Script(ttft=0.5)
    environ = environment(limits__engine_requests=1, limits__queue=0, cache__enabled="false")
    with GatewayProcess(engine.url, environ=environ) as gateway:
        ready(gateway)
        answers = asyncio.run(crowd(gateway, ask(), ask(), ask()))

        assert sorted(answer.status_code for answer in answers) == [200, 503, 503]
        assert number(gateway, 'shed_total{reason="queue"}') == 2
        assert number(gateway, "engine_limit") == 1


def test_who_waits_for_the_engines(engine: FakeEngine) -> None:
    engine.script = Script(ttft=1)
    environ = environment(limits__engine_requests=1, limits__queue_seconds=5, cache__enabled="false")
    with GatewayProcess(engine.url, environ=environ) as gateway:
        ready(gateway)
        wires = [gateway.connect() for _ in range(2)]
        for wire in wires:
            body = b'{"model":"fake-vl","messages":[{"role":"user","content":"wait"}]}'
            wire.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n")
            wire.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        eventually(lambda: number(gateway, "engine_waiting_requests") == 1, what="one waits")
        for wire in wires:
            wire.close()


def test_limits_key_files_and_replicas(engine: FakeEngine, redis_server: RedisServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    headers, others = write_keys(keys, acme=["chat"], beta=["chat"]).values()
    environ = environment(keys_file=keys, store=redis_server.url, limits__key__requests_per_minute=1, limits__failed_auth=1)
    with GatewayProcess(engine.url, environ=environ) as gateway:
        ready(gateway)
        for _ in range(2):
            gateway.chat(ask(), headers=headers)
        for _ in range(2):
            gateway.chat(ask(), headers={"authorization": "Bearer sl-wrong"})
        assert number(gateway, 'rate_limited_total{kind="requests"}') == 1
        assert number(gateway, 'rate_limited_total{kind="failed_auth"}') == 1
        assert number(gateway, "replicas") == 1

        keys.write_text(yaml.safe_dump({"keys": [{"nonsense": 1}]}))
        eventually(lambda: number(gateway, 'key_file_reloads_total{result="refused"}') == 1, what="a refused key file")

        redis_server.kill()
        for _ in range(4):
            gateway.chat(ask(), headers=others)
        assert number(gateway, "limits_local_total") > 0
        assert number(gateway, 'backend_errors_total{backend="redis",operation="take"}') > 0
        eventually(lambda: number(gateway, 'backend_breaker_state{backend="redis"}') > 0, what="an open breaker")


def test_an_engine_that_is_not_there() -> None:
    with GatewayProcess(f"http://127.0.0.1:{free_port()}") as gateway:
        (line,) = [line for line in gateway.client.get("/metrics").text.splitlines() if line.startswith("sightline_engine_up{")]
        assert line.endswith(" 0.0")
