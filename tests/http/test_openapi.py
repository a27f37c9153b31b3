"""The OpenAPI document is true to the routes: it lists what there is, and what it lists is there."""

from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment


def test_the_document_lists_the_routes_of_the_contract(gateway: GatewayProcess) -> None:
    document = gateway.client.get("/openapi.json").json()

    listed = {(method, path) for path, methods in document["paths"].items() for method in methods}
    assert {("post", "/v1/chat/completions"), ("get", "/v1/models"), ("get", "/health/live"), ("get", "/health/ready")} <= listed
    assert "stream" in str(document["paths"]["/v1/chat/completions"])


def test_every_listed_route_exists(gateway: GatewayProcess) -> None:
    for path, methods in gateway.client.get("/openapi.json").json()["paths"].items():
        for method in methods:
            answer = gateway.client.request(method, path.replace("{", "").replace("}", ""))
            assert answer.status_code != 405, (method, path)
            assert answer.status_code != 404 or answer.json()["error"]["code"] != "not_found" or "{" in path, (method, path)


def test_documentation_can_be_turned_off(engine: FakeEngine) -> None:
    with GatewayProcess(engine.url, environ=environment(docs="false")) as gateway:
        assert gateway.client.get("/docs").status_code == 404
        assert gateway.client.get("/openapi.json").status_code == 404
        for path in ("/", "/nothing"):
            told = gateway.client.get(path).text
            assert "/docs" not in told
            assert "/openapi.json" not in told
