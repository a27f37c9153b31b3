"""Each chunk leaves as it comes: a client has read a token before the engine has written the next."""

from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess
from tests.shapes import ask


def test_a_client_is_never_a_token_behind_the_engine(gateway: GatewayProcess, engine: FakeEngine) -> None:
    engine.script = Script(rate=10, tokens=6)
    behind = []

    with gateway.client.stream("POST", "/v1/chat/completions", json=ask(stream=True)) as response:
        call = engine.wait_for_call()
        seen = 0
        for line in response.iter_lines():
            if '"content":' in line and '"role"' not in line:
                seen += 1
                behind.append(call.tokens_sent - seen)

    assert seen == 6
    assert max(behind) <= 0
