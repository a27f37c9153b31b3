"""Who may read `/metrics` on the serving port: this machine; from elsewhere, where there are keys, those with the scope for it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from tests.keyring import KeyRing, bearer

from sightline.app import create_app
from sightline.http.middleware import Lifecycle
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics

ELSEWHERE = "192.0.2.1"  # the app is asked without a socket: nothing listens there


@pytest.fixture
def keys(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys.yaml")


@asynccontextmanager
async def client(**settings: object) -> AsyncIterator[httpx.AsyncClient]:
    edge, _ = create_app(Settings.model_validate({"engines": ("http://127.0.0.1:1",)} | settings), Metrics(), Lifecycle())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(edge), base_url="http://gateway") as asking:
        yield asking


async def test_a_key_needs_the_scope(keys: KeyRing) -> None:
    reads, chats = keys.new(scopes=["metrics"]), keys.new()
    async with client(host=ELSEWHERE, keys_file=keys.file) as asking:
        told = await asking.get("/metrics", headers=bearer(reads))
        refused = await asking.get("/metrics", headers=bearer(chats))
        unknown = await asking.get("/metrics")

    assert (told.status_code, refused.status_code, unknown.status_code) == (200, 403, 401)
    assert "sightline_requests_total" in told.text
    assert "`metrics`" in refused.json()["error"]["message"]
    assert "sightline" not in unknown.text


async def test_that_scope_is_for_nothing_else(keys: KeyRing) -> None:
    reads = bearer(keys.new(scopes=["metrics"]))
    async with client(host=ELSEWHERE, keys_file=keys.file) as asking:
        refused = await asking.delete(f"/v1/cache/images/{'0' * 64}", headers=reads)

    assert refused.status_code == 403


async def test_nobody_elsewhere_reads_them_without_keys() -> None:
    async with client(host=ELSEWHERE, open=True) as asking:
        assert (await asking.get("/metrics")).status_code == 404


async def test_this_machine_reads_them_as_they_are(keys: KeyRing) -> None:
    keys.new()
    async with client(keys_file=keys.file) as asking:
        assert (await asking.get("/metrics")).status_code == 200
