"""What nginx itself refuses has our shape and the gateway's own codes; what the gateway refuses passes as it is."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from tests.deploy.proxy import SOURCE, Nginx
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, free_port, read_response
from tests.shapes import ask, head, refusal

from sightline import errors


def test_a_gateway_that_is_gone(tmp_path: Path) -> None:
    with Nginx(tmp_path / "etc", f"127.0.0.1:{free_port()}") as nginx:
        refusal(nginx.chat(ask()), 502, "engine_error", "server_error")


def test_a_gateway_that_does_not_answer_in_time(gateway: GatewayProcess, engine: FakeEngine, tmp_path: Path) -> None:
    engine.script = Script(ttft=20)
    soon = {"proxy_read_timeout 620s": "proxy_read_timeout 300ms"}
    with Nginx(tmp_path / "etc", f"127.0.0.1:{gateway.port}", changed=soon) as nginx:
        refusal(nginx.chat(ask()), 504, "engine_timeout", "server_error")


def test_one_request_too_many_from_an_address(gateway: GatewayProcess, engine: FakeEngine, tmp_path: Path) -> None:
    engine.script = Script(rate=20, tokens=1000)
    few = {"limit_conn sightline_clients 100;": "limit_conn sightline_clients 1;"}
    with (
        Nginx(tmp_path / "etc", f"127.0.0.1:{gateway.port}", changed=few) as nginx,
        httpx.stream("POST", f"{nginx.url}/v1/chat/completions", json=ask(stream=True), timeout=20) as held,
    ):
        assert held.status_code == 200

        refusal(nginx.chat(ask()), 429, "concurrency_limit_exceeded", "rate_limit_error")
        assert nginx.client.get("/health/live").status_code == 200  # a probe is not a caller


@pytest.mark.parametrize(
    ("text", "status"),
    [
        ("GARBAGE\r\n\r\n", 400),
        ("GET / HTTP/1.1\r\n\r\n", 400),
        ("GET /../secret HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (f"GET /{'a' * 20_000} HTTP/1.1\r\nHost: x\r\n\r\n", 414),
        (f"GET / HTTP/1.1\r\nHost: x\r\nX-Large: {'a' * 20_000}\r\n\r\n", 431),
    ],
    ids=["no HTTP", "no host", "a path above the root", "a long URL", "a large header"],
)
def test_what_is_no_request(nginx: Nginx, text: str, status: int) -> None:
    with nginx.connect() as wire:
        wire.sendall(text.encode())
        refusal(read_response(wire), status, "invalid_value")


def test_a_request_keeps_its_id(nginx: Nginx) -> None:
    named = nginx.client.get("/nothing", headers={"x-request-id": "one-of-mine"})
    unnamed = nginx.client.get("/nothing", headers={"x-request-id": "not a word"})

    assert named.headers["x-request-id"] == "one-of-mine"
    assert re.fullmatch("req_[0-9a-f]{32}", unnamed.headers["x-request-id"])


def test_the_gateways_own_refusals_pass_as_they_are(nginx: Nginx, gateway: GatewayProcess) -> None:
    body = ask(colour="red")

    through, direct = nginx.chat(body), gateway.chat(body)

    assert (through.status_code, through.json()) == (direct.status_code, direct.json()) == (400, direct.json())
    with nginx.connect() as wire:
        wire.sendall(head(None, "Expect: nonsense"))
        assert b"error" in read_response(wire).body


def test_every_code_is_one_of_the_gateways() -> None:
    table = re.findall(r"^\s+(\d{3})\s+'(\{.*\})';$", (SOURCE / "gateway.conf").read_text(encoding="utf-8"), re.MULTILINE)
    refusals = {int(status): json.loads(text.replace("\\'", "'"))["error"] for status, text in table}
    tree = (errors.__doc__ or "").splitlines()
    by_status = {status: line for line in tree for status in refusals if f"   {status}   " in line}

    assert {403, 404, 405, 413, 429, 502, 503, 504} <= set(by_status)
    assert [status for status, line in by_status.items() if refusals[status]["code"] not in line] == []


def test_a_crowd_that_is_let_in_is_answered(nginx: Nginx) -> None:
    with ThreadPoolExecutor(50) as threads:
        statuses = set(threads.map(lambda _: nginx.chat(ask()).status_code, range(50)))

    assert statuses == {200}
