"""OpenAI's own clients wait as long as they are told, try again by themselves, and get their answers; a used-up day they leave alone."""

import json
import subprocess
from pathlib import Path

import openai
import pytest
from tests.fakes.engine import FakeEngine
from tests.keyring import KeyRing
from tests.serving import GatewayProcess, environment, eventually, ready
from tests.shapes import ask

RETRY = Path(__file__).with_name("node") / "retry.mjs"
BURST = 30  # requests that fit at once; then one every two seconds
COUNT = BURST + 1


def statuses(gateway: GatewayProcess) -> list[int]:
    return [line["status"] for line in gateway.events("request.finished", route="/v1/chat/completions")]


def use_up(client: openai.OpenAI) -> None:
    for _ in range(20):
        client.chat.completions.create(**ask(max_tokens=600))


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.yaml")


def test_openai_python_is_told_when_and_succeeds(engine: FakeEngine, keys: KeyRing) -> None:
    key = keys.new(limits={"requests_per_minute": BURST})
    with GatewayProcess(engine.url, environ=environment(keys_file=keys.file)) as gateway:
        ready(gateway)
        with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=3) as client:
            answers = [client.chat.completions.create(**ask()).choices[0].message.content for _ in range(COUNT)]

        assert all(answers)
        assert len(answers) == COUNT
        eventually(lambda: statuses(gateway) == [200] * BURST + [429, 200], what="one refusal and one more try")


def test_openai_node_is_told_when_and_succeeds(engine: FakeEngine, keys: KeyRing) -> None:
    key = keys.new(limits={"requests_per_minute": BURST})
    with GatewayProcess(engine.url, environ=environment(keys_file=keys.file)) as gateway:
        ready(gateway)
        command = ["node", str(RETRY), f"{gateway.url}/v1", key, str(COUNT)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        assert ended.stderr == ""
        assert json.loads(ended.stdout) == {"answered": COUNT, "error": None}
        eventually(lambda: statuses(gateway) == [200] * BURST + [429, 200], what="one refusal and one more try")


def test_a_used_up_day_is_not_tried_again(engine: FakeEngine, keys: KeyRing) -> None:
    key = keys.new(limits={"tokens_per_day": 700})
    with GatewayProcess(engine.url, environ=environment(keys_file=keys.file)) as gateway:
        ready(gateway)
        with (
            openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=key, max_retries=3) as client,
            pytest.raises(openai.RateLimitError) as raised,
        ):
            use_up(client)
        command = ["node", str(RETRY), f"{gateway.url}/v1", key, "1", "600"]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

        assert raised.value.response.headers["x-should-retry"] == "false"
        assert int(raised.value.response.headers["retry-after"]) <= 120
        assert json.loads(ended.stdout) == {"answered": 0, "error": "RateLimitError"}
        eventually(lambda: statuses(gateway).count(429) >= 2, what="a refusal of each client")
        assert statuses(gateway).count(429) == 2
