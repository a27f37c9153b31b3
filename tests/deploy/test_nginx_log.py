"""nginx writes one JSON line a request, which the request id joins with the gateway's, and in which no query stands."""

from pathlib import Path

from tests.deploy.proxy import Nginx
from tests.serving import GatewayProcess, eventually, free_port
from tests.shapes import ask


def test_a_request_is_one_line_in_both_logs(nginx: Nginx, gateway: GatewayProcess) -> None:
    answer = nginx.client.post("/v1/chat/completions?secret=canary", json=ask(), headers={"x-request-id": "joined-one"})

    assert answer.headers["x-request-id"] == "joined-one"
    gateway.finished("joined-one")
    eventually(lambda: [line for line in nginx.lines() if line["request_id"] == "joined-one"], what="a line")
    (line,) = (line for line in nginx.lines() if line["request_id"] == "joined-one")
    assert (line["method"], line["path"], line["status"], line["client"]) == ("POST", "/v1/chat/completions", 200, "127.0.0.1")
    assert "canary" not in (nginx.folder / "access.log").read_text(encoding="utf-8")


def test_a_request_without_an_id_is_joined_too(nginx: Nginx, gateway: GatewayProcess) -> None:
    given = nginx.chat(ask()).headers["x-request-id"]

    gateway.finished(given)
    eventually(lambda: given in {line["request_id"] for line in nginx.lines()}, what="a line with the same id")


def test_what_nginx_refuses_is_logged_as_it_was_asked(tmp_path: Path) -> None:
    with Nginx(tmp_path / "etc", f"127.0.0.1:{free_port()}") as nginx:
        nginx.chat(ask())
        eventually(nginx.lines, what="a line")
        (line,) = nginx.lines()

    assert (line["method"], line["path"], line["status"]) == ("POST", "/v1/chat/completions", 502)
