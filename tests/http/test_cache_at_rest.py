"""What lies in Redis: no prompt and no picture, nothing without an end, and with encryption keys no answer either."""

import base64
import io
import os

import pytest
from PIL import Image
from tests.caching import cache, content, keys_of, lifetime, told
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, data_uri

PROMPT, ANSWER, NAMESPACE = "prompt-canary-91c4", "answer-canary-7d20", "namespace-canary-3b88"
YEAR = 365 * 86_400


def noise() -> bytes:
    """A picture whose bytes are found nowhere by chance."""
    file = io.BytesIO()
    Image.frombytes("RGB", (32, 16), os.urandom(32 * 16 * 3)).save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize("sealed", [False, True], ids=["plain", "encrypted"])
def test_redis_holds_only_what_it_must(engine: FakeEngine, redis_server: RedisServer, sealed: bool) -> None:
    engine.script = Script(text=f"It is {ANSWER}.")
    sent = noise()
    picture = Image.open(io.BytesIO(sent)).tobytes()
    keys = {"cache__encryption_keys": ",".join(base64.b64encode(os.urandom(32)).decode() for _ in range(2))} if sealed else {}
    limits = {"limits__key__requests_per_minute": 1000, "limits__key__tokens_per_minute": 100_000}
    body = ask(PROMPT, pictures=(data_uri(sent),), cache={"namespace": NAMESPACE})
    with GatewayProcess(engine.url, environ=environment(store=redis_server.url, cache__timeout=1, **keys, **limits)) as gateway:
        first, again = ready(gateway).chat(body), gateway.chat(body)
        gateway.client.delete(f"/v1/cache/images/{'0' * 64}")

    assert (cache(first), cache(again)) == ("MISS", "HIT")
    assert ANSWER in told(again)["text"]
    found = {key: content(redis_server, key) for key in keys_of(redis_server)}
    assert [key for key in found if ":a:" in key]
    everything = b"\n".join(found.values())
    assert (ANSWER.encode() in everything) is not sealed
    for canary in (PROMPT.encode(), NAMESPACE.encode(), sent[60:120], base64.b64encode(sent)[40:100], picture[:60]):
        assert canary not in everything
    assert {key: seconds for key in found if not 0 < (seconds := lifetime(redis_server, key)) < YEAR} == {}
