"""What tests of the result cache share: what a response says of itself, in either form, and what is to be found in a Redis."""

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import yaml
from tests.fakes.redis_server import RedisServer
from tests.serving import GatewayProcess, eventually
from tests.shapes import ask, chunks, text_of

HASHES = ("x-image-hash", "x-question-hash")
USAGE = {"stream_options": {"include_usage": True}}
FORMS: dict[str, dict[str, Any]] = {"json": {}, "stream": {"stream": True, **USAGE}}


def told(response: httpx.Response) -> dict[str, Any]:
    """An answer's id, text, end and usage, whichever form it came in; a stream's form is looked at too."""
    assert response.status_code == 200, response.text
    if response.headers["content-type"] == "application/json":
        body = response.json()
        (choice,) = body["choices"]
        text, reason = choice["message"]["content"], choice["finish_reason"]
        return {"id": body["id"], "created": body["created"], "text": text, "reason": reason, "usage": body.get("usage")}
    found = chunks(response)
    assert found[0]["choices"][0]["delta"]["role"] == "assistant"
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in found}) == 1
    reasons = [choice["finish_reason"] for chunk in found for choice in chunk["choices"]]
    assert not any(reasons[:-1])
    usage = [chunk["usage"] for chunk in found if not chunk["choices"]]
    return {
        "id": found[0]["id"],
        "created": found[0]["created"],
        "text": text_of(found),
        "reason": reasons[-1],
        "usage": usage[0] if usage else None,
    }


def said(response: httpx.Response) -> tuple[Any, Any, Any]:
    """What may not differ between an answer and its repeat: text, end and usage, where null and absent are one."""
    found = told(response)
    usage = found["usage"] and {name: value for name, value in found["usage"].items() if value is not None}
    return found["text"], found["reason"], usage


def cache(response: httpx.Response) -> str:
    assert response.status_code == 200, response.text
    return str(response.headers["x-cache"])


async def crowd(gateway: GatewayProcess, *bodies: Mapping[str, Any], **kwargs: Any) -> list[httpx.Response]:
    """All of them at once, each on a connection of its own."""
    async with client_of(gateway) as client:
        return list(await asyncio.gather(*(client.post("/v1/chat/completions", json=body, **kwargs) for body in bodies)))


def client_of(gateway: GatewayProcess) -> httpx.AsyncClient:
    """One that does not read the machine's certificates first: that takes longer than some answers."""
    return httpx.AsyncClient(base_url=gateway.url, timeout=20, limits=httpx.Limits(max_connections=None), verify=False)


def in_flight(gateway: GatewayProcess) -> int:
    """Requests under way, without the one that asks."""
    lines = gateway.client.get("/metrics").text.splitlines()
    return round(next(float(line.split()[1]) for line in lines if line.startswith("sightline_in_flight_requests "))) - 1


def all_boarded(gateway: GatewayProcess, count: int) -> None:
    """Until `count` requests are under way and each has come as far as it can: later ones took every step after them, and are through."""
    eventually(lambda: in_flight(gateway) == count, what=f"{count} requests in flight")
    kept = ask("a question that is asked to be through")
    gateway.chat(kept)
    assert cache(gateway.chat(kept)) == "HIT"


def write_keys(file: Path, **scopes: list[str]) -> dict[str, dict[str, str]]:
    """A key file with a tenant for each name; the headers that make a request theirs."""
    digest = {tenant: hashlib.sha256(f"sl-{tenant}".encode()).hexdigest() for tenant in scopes}
    keys = [
        {"id": f"key-{tenant}", "digest": digest[tenant], "tenant": tenant, "scopes": given, "created": "2026-01-01T00:00:00+00:00"}
        for tenant, given in scopes.items()
    ]
    file.write_text(yaml.safe_dump({"keys": keys}))
    return {tenant: {"authorization": f"Bearer sl-{tenant}"} for tenant in scopes}


def keys_of(redis: RedisServer) -> list[str]:
    return redis.tell("KEYS", "*").decode().split()


def content(redis: RedisServer, key: str) -> bytes:
    """All that Redis holds under a key, and the key's name."""
    read = {"string": ("GET", key), "set": ("SMEMBERS", key), "hash": ("HGETALL", key), "zset": ("ZRANGE", key, 0, -1)}
    return key.encode() + b" " + redis.tell(*read[redis.tell("TYPE", key).decode().removeprefix("+")])


def lifetime(redis: RedisServer, key: str) -> float:
    """Seconds until it expires; negative for one that never does."""
    return int(redis.tell("PTTL", key).removeprefix(b":")) / 1000


def all_is_kept(gateway: GatewayProcess) -> None:
    """Returns when Redis holds whatever was to be kept so far: it is told in order, and here somebody waits for it."""
    assert gateway.client.delete(f"/v1/cache/images/{'0' * 64}").status_code == 200


@contextmanager
def kept_meanwhile(gateway: GatewayProcess, redis: RedisServer) -> Iterator[list[str]]:
    """The keys of the answers that the block added."""
    before, added = set(keys_of(redis)), list[str]()
    yield added
    all_is_kept(gateway)
    added += [key for key in keys_of(redis) if ":a:" in key and key not in before]


def encoded(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body).encode()
