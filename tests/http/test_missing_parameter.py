"""What a chat request cannot do without is asked for by name."""

from typing import Any

import pytest
from tests.serving import GatewayProcess
from tests.shapes import refusal

USER = {"role": "user", "content": "x"}
BODIES: dict[str, dict[str, Any]] = {
    "model": {"messages": [USER]},
    "messages": {"model": "fake-vl"},
    "messages[0].role": {"model": "fake-vl", "messages": [{"content": "x"}]},
    "messages[1].content[0].type": {"model": "fake-vl", "messages": [USER, {"role": "user", "content": [{"text": "x"}]}]},
    "messages[0].content[0].image_url": {"model": "fake-vl", "messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
    "messages[0].content[0].image_url.url": {
        "model": "fake-vl",
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}],
    },
}


@pytest.mark.parametrize(("param", "body"), BODIES.items(), ids=BODIES.keys())
def test_a_missing_parameter_is_named(gateway: GatewayProcess, param: str, body: dict[str, Any]) -> None:
    error = refusal(gateway.chat(body), 400, "missing_required_parameter")

    assert error["param"] == param
    assert param in error["message"]
