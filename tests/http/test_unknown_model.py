"""A question to a model that is not served is a 404 that lists those that are; no engine is asked."""

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess
from tests.shapes import ask, refusal


@pytest.mark.parametrize("stream", [False, True])
def test_an_unknown_model_is_refused_with_the_list_of_known_ones(gateway: GatewayProcess, engine: FakeEngine, stream: bool) -> None:
    error = refusal(gateway.chat(ask(model="gpt-9", stream=stream)), 404, "model_not_found")

    assert error["param"] == "model"
    assert "gpt-9" in error["message"]
    assert "fake-vl" in error["message"]
    assert engine.calls == []
