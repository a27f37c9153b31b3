"""Through nginx every route is reached that callers may use, and nothing else: no metrics, no documentation, whatever the spelling."""

import pytest
from tests.deploy.proxy import Nginx
from tests.serving import GatewayProcess, read_response
from tests.shapes import refusal

from sightline.http.middleware import PREFIXES, ROUTES

CLOSED = {"/metrics", "/docs", "/openapi.json"}
OF_NGINX = "There is nothing at this path."


def asked(nginx: Nginx, path: str) -> tuple[int, str]:
    """As it is written: a client library would tidy it up."""
    with nginx.connect() as wire:
        wire.sendall(f"GET {path} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n".encode("latin-1"))
        answer = read_response(wire)
    return answer.status, answer.body.decode()


@pytest.mark.parametrize("path", sorted(CLOSED))
def test_the_operators_paths_are_closed(nginx: Nginx, gateway: GatewayProcess, path: str) -> None:
    assert gateway.client.get(path).status_code == 200

    refusal(nginx.client.get(path), 404, "not_found")


@pytest.mark.parametrize("path", sorted((ROUTES | {prefix + "x" for prefix in PREFIXES}) - CLOSED))
def test_every_other_route_of_the_gateway_is_reached(nginx: Nginx, path: str) -> None:
    assert OF_NGINX not in asked(nginx, path)[1]


@pytest.mark.parametrize(
    "path",
    [
        "//metrics", "/./metrics", "/v1/../metrics", "/%6detrics", "/metrics/", "/metrics?x", "/metrics%2f", "/metrics;x", "/METRICS",
        "/v1/%2e%2e/metrics", "/v1/..%2fmetrics", "/health/../metrics", "/static/..%2f..%2fmetrics", "/metrics/../v1/models/..",
        "/metrics%23/../v1/models", "/v1/models/../../metrics", "http://gateway/metrics",
    ],
)  # fmt: skip
def test_no_spelling_leads_there(nginx: Nginx, path: str) -> None:
    status, body = asked(nginx, path)

    assert status in {400, 404}
    assert "sightline_" not in body
