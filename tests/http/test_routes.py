"""What there is, and nothing else: an engine's other routes are not forwarded."""

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess
from tests.shapes import refusal

ENGINE_ROUTES = [
    "/v1/completions",
    "/v1/responses",
    "/v1/embeddings",
    "/tokenize",
    "/invocations",
    "/load",
    "/version",
    "/v1/chat/completions/batch",
]


@pytest.mark.parametrize("path", [*ENGINE_ROUTES, "/v1", "/nothing", "/v1/chat/completions/", "//v1/models", "/v1/../metrics/x"])
def test_what_is_not_listed_is_404_and_reaches_no_engine(gateway: GatewayProcess, engine: FakeEngine, path: str) -> None:
    for method in ("GET", "POST"):
        refusal(gateway.client.request(method, path, json={}), 404, "not_found")

    assert [call.path for call in engine.other_calls if call.path not in {"/health", "/v1/models"}] == []


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/chat/completions"),
        ("PUT", "/v1/chat/completions"),
        ("DELETE", "/v1/models"),
        ("POST", "/v1/models"),
        ("POST", "/health/live"),
    ],
)
def test_another_method_is_405_and_the_right_ones_are_named(gateway: GatewayProcess, method: str, path: str) -> None:
    response = gateway.client.request(method, path)

    refusal(response, 405, "method_not_allowed")
    assert response.headers["allow"]


def test_the_root_points_to_the_documentation(gateway: GatewayProcess) -> None:
    answer = gateway.client.get("/")

    assert answer.status_code == 200
    assert "/docs" in answer.text
