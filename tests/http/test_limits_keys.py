"""The key file may change while requests are under way: what has begun ends well, what comes next goes by the new file."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tests.fakes.engine import FakeEngine, Script
from tests.keyring import KeyRing, bearer, seen
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, chunks, refusal


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.yaml")


@pytest.fixture
def key(keys: KeyRing) -> str:
    return keys.new(limits={"requests_per_minute": 2})


@pytest.fixture
def locked(engine: FakeEngine, keys: KeyRing, key: str) -> Iterator[GatewayProcess]:
    assert key
    with GatewayProcess(engine.url, environ=environment(keys_file=keys.file)) as gateway:
        yield ready(gateway)


def test_a_key_revoked_in_flight_gets_its_answer_and_no_other(locked: GatewayProcess, engine: FakeEngine, keys: KeyRing, key: str) -> None:
    engine.script = Script(ttft=2.5)  # longer than the gateway takes to see a new file
    with ThreadPoolExecutor() as threads:
        under_way = threads.submit(locked.chat, ask(stream=True), headers=bearer(key))
        engine.wait_for_call()
        keys.change(key, revoked=True)
        seen(locked, "key_file.reloaded")

        assert "revoked" in refusal(locked.chat(ask(), headers=bearer(key)), 401, "invalid_api_key", "authentication_error")["message"]
        assert not under_way.done()
        assert chunks(under_way.result())


def test_a_wrong_file_changes_nothing_and_is_counted(locked: GatewayProcess, keys: KeyRing, key: str) -> None:
    keys.write("keys:\n  - id: key_9\n    digest: half a fi")
    seen(locked, "key_file.refused")

    assert locked.chat(ask(), headers=bearer(key)).status_code == 200
    assert 'sightline_key_file_reloads_total{result="refused"} 1.0' in locked.client.get("/metrics").text


def test_a_raised_limit_counts_at_once(locked: GatewayProcess, keys: KeyRing, key: str) -> None:
    assert [locked.chat(ask(), headers=bearer(key)).status_code for _ in range(4)] == [200, 200, 429, 429]

    keys.change(key, limits={"requests_per_minute": 1000})
    seen(locked, "key_file.reloaded")

    assert locked.chat(ask(), headers=bearer(key)).status_code == 200
