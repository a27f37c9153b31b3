"""`DELETE /v1/cache/images/{image_hash}`: one picture's answers to the caller's own tenant are forgotten, also those in the making."""

import asyncio
from collections.abc import Iterator

import pytest
from tests.caching import cache, crowd, write_keys
from tests.fakes.engine import FakeEngine, Script
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, data_uri, picture, refusal

SCOPES = {"acme": ["chat", "cache:purge"], "umbrella": ["chat", "cache:purge"], "reader": ["chat"]}
RED, BLUE = data_uri(picture(colour="red")), data_uri(picture(colour="blue"))
ACME, UMBRELLA, READER = ({"authorization": f"Bearer sl-{tenant}"} for tenant in SCOPES)


@pytest.fixture(scope="module")
def _keyed(_engine: FakeEngine, redis: RedisServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    file = tmp_path_factory.mktemp("keys") / "keys.yaml"
    write_keys(file, **SCOPES)
    with GatewayProcess(_engine.url, environ=environment(store=redis.url, keys_file=file, cache__timeout=1)) as gateway:
        yield gateway


@pytest.fixture
def keyed(_keyed: GatewayProcess, engine: FakeEngine) -> GatewayProcess:
    return ready(_keyed)


def purge(gateway: GatewayProcess, image_hash: str, headers: dict[str, str]) -> int:
    """How many answers were forgotten."""
    response = gateway.client.delete(f"/v1/cache/images/{image_hash}", headers=headers)
    assert response.status_code == 200, response.text
    assert response.json() == {"object": "cache.image.deleted", "image_hash": image_hash, "answers": response.json()["answers"]}
    return int(response.json()["answers"])


def test_all_of_one_picture_and_nothing_else(keyed: GatewayProcess) -> None:
    two, other = [ask(pictures=(RED,)), ask(pictures=(RED,))], ask(pictures=(BLUE,))
    first, *_ = [keyed.chat(body, headers=ACME) for body in (*two, other)]

    assert purge(keyed, first.headers["x-image-hash"], ACME) == 2
    assert [cache(keyed.chat(body, headers=ACME)) for body in (*two, other)] == ["MISS", "MISS", "HIT"]


def test_one_of_several_pictures(keyed: GatewayProcess) -> None:
    """An answer about two pictures goes with either of them."""
    alone, together = ask(pictures=(BLUE,)), ask(pictures=(RED, BLUE))
    image_hash = keyed.chat(alone, headers=ACME).headers["x-image-hash"]
    keyed.chat(together, headers=ACME)
    purge(keyed, image_hash, ACME)

    assert cache(keyed.chat(together, headers=ACME)) == "MISS"


def test_another_tenants_answers_stay(keyed: GatewayProcess) -> None:
    body = ask(pictures=(RED,))
    image_hash = keyed.chat(body, headers=ACME).headers["x-image-hash"]
    assert cache(keyed.chat(body, headers=UMBRELLA)) == "MISS"
    purge(keyed, image_hash, UMBRELLA)

    assert cache(keyed.chat(body, headers=ACME)) == "HIT"
    assert cache(keyed.chat(body, headers=UMBRELLA)) == "MISS"


async def test_answers_in_the_making(keyed: GatewayProcess, engine: FakeEngine) -> None:
    """Who waits is answered; what he got is not kept, and who asks after the purge does not share his call."""
    engine.script = Script(ttft=0.5)
    body = ask(pictures=(RED,))
    known = await asyncio.to_thread(keyed.chat, ask(pictures=(RED,)), headers=ACME)
    early = asyncio.create_task(crowd(keyed, body, headers=ACME))
    await asyncio.to_thread(engine.wait_for_call, 2)
    purge(keyed, known.headers["x-image-hash"], ACME)
    (late,) = await crowd(keyed, body, headers=ACME)
    (answer,) = await early

    assert (cache(answer), cache(late)) == ("MISS", "MISS")
    assert len(engine.calls) == 3
    assert cache(keyed.chat(body, headers=ACME)) == "HIT"  # the late one's


def test_without_its_scope_it_is_forbidden(keyed: GatewayProcess) -> None:
    body = ask(pictures=(RED,))
    image_hash = keyed.chat(body, headers=READER).headers["x-image-hash"]

    refused = keyed.client.delete(f"/v1/cache/images/{image_hash}", headers=READER)

    assert "cache:purge" in refusal(refused, 403, "insufficient_permissions", "permission_error")["message"]
    assert cache(keyed.chat(body, headers=READER)) == "HIT"


def test_without_a_key_it_is_refused(keyed: GatewayProcess) -> None:
    refusal(keyed.client.delete(f"/v1/cache/images/{'0' * 64}"), 401, "invalid_api_key", "authentication_error")


@pytest.mark.parametrize("wrong", ["0" * 63, "g" * 64, "*", "A" * 64])
def test_what_is_no_hash_is_refused(keyed: GatewayProcess, wrong: str) -> None:
    assert refusal(keyed.client.delete(f"/v1/cache/images/{wrong}", headers=ACME), 400, "invalid_value")["param"] == "image_hash"


def test_a_picture_nobody_asked_about(keyed: GatewayProcess) -> None:
    assert purge(keyed, "0" * 64, ACME) == 0
