"""openai-node, unchanged: models, an answer, a stream, an error of the right class before the answer and within it."""

import json
import subprocess
from pathlib import Path

from tests.fakes.answer import question, text_for
from tests.fakes.engine import FakeEngine, Fault, Script
from tests.serving import GatewayProcess
from tests.shapes import ask

CHAT = Path(__file__).with_name("node") / "chat.mjs"


def test_it_sees_what_openai_python_sees(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.choose = lambda call: Script(fault=Fault.CUT, after=2) if question(call.json) == "cut" else None

    ended = subprocess.run(["node", str(CHAT), f"{gateway.url}/v1"], capture_output=True, text=True, timeout=30, check=False)

    assert ended.stderr == ""
    seen = json.loads(ended.stdout)
    assert seen["models"] == ["fake-vl"]
    assert seen["json"] == text_for(ask("json"))
    assert seen["stream"] == text_for(ask("stream"))
    assert seen["usage"]["completion_tokens"] > 0
    assert (seen["error"]["name"], seen["error"]["status"], seen["error"]["code"]) == ("NotFoundError", 404, "model_not_found")
    assert seen["error"]["id"]
    assert seen["midstream"] == {"name": "APIError", "code": "engine_error"}
