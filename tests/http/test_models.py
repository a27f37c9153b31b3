"""`/v1/models` lists what the engines serve, adapters too; an id may hold slashes."""

from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, eventually
from tests.shapes import refusal


def test_the_models_of_all_engines_are_listed_once_each() -> None:
    with (
        FakeEngine(models=("base", "org/adapter")) as one,
        FakeEngine(models=("base", "other")) as two,
        GatewayProcess(one.url, two.url) as gateway,
    ):
        eventually(lambda: len(gateway.client.get("/v1/models").json()["data"]) == 3, what="three models")

        listed = gateway.client.get("/v1/models").json()

        assert listed["object"] == "list"
        assert sorted(model["id"] for model in listed["data"]) == ["base", "org/adapter", "other"]
        assert gateway.client.get("/v1/models/org/adapter").json()["id"] == "org/adapter"
        assert gateway.client.get("/v1/models/org%2Fadapter").json()["id"] == "org/adapter"


def test_a_model_that_is_not_served_is_404(gateway: GatewayProcess) -> None:
    error = refusal(gateway.client.get("/v1/models/gpt-9"), 404, "model_not_found")

    assert "fake-vl" in error["message"]
