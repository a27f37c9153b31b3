"""Behind a real nginx with its defaults a stream is not held back until it ends."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess, eventually, free_port
from tests.shapes import ask

CONFIGURATION = """
daemon off; worker_processes 1; pid {folder}/pid; error_log stderr;
events {{ worker_connections 64; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi; uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass {gateway}; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
}}
"""


@pytest.fixture
def nginx(gateway: GatewayProcess, tmp_path: Path) -> Iterator[str]:
    port = free_port()
    file = tmp_path / "nginx.conf"
    file.write_text(CONFIGURATION.format(folder=tmp_path, port=port, gateway=gateway.url), encoding="utf-8")
    with subprocess.Popen(["/usr/sbin/nginx", "-e", "stderr", "-p", str(tmp_path), "-c", str(file)]) as process:
        url = f"http://127.0.0.1:{port}"
        try:
            eventually(lambda: _answers(url), 10, "nginx")
            yield url
        finally:
            process.terminate()


def _answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/live").status_code == 200
    except httpx.TransportError:
        return False


def test_the_first_token_is_through_while_the_engine_still_answers(nginx: str, engine: FakeEngine) -> None:
    engine.script = Script(rate=20, tokens=40)  # two seconds in all
    with httpx.stream("POST", f"{nginx}/v1/chat/completions", json=ask(stream=True), timeout=20) as answer:
        pieces = answer.iter_bytes()
        first = next(pieces)
        sent = engine.wait_for_call().tokens_sent
        rest = b"".join(pieces)

    assert first.startswith(b"data: ")
    assert sent < 40
    assert (first + rest).endswith(b"data: [DONE]\n\n")
