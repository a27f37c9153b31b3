"""What answers take in Redis and what requests ask of it: bytes an answer and a known picture, commands a request.

    python loadtests/store/footprint.py [--name redis]

A real redis-server and real gateways, before an engine that answers at once. Bytes come from Redis's own `used_memory`, commands from its
MONITOR (what scripts do within is one command). A key with four limits, as in `make bench`. Written:
`loadtests/results/NAME.json`, from which `sightline plan` takes its figures (`python loadtests/figures.py`).
"""

import argparse
import asyncio
import base64
import contextlib
import http.client
import io
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import redis
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from loadtests.bench import report
from loadtests.store.bench import server

from sightline.answers.cache import Cache, Miss
from sightline.answers.keys import make_key
from sightline.pictures.memo import Identity, Memo
from sightline.settings import Cache as CacheSettings
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics

RESULTS = Path(__file__).resolve().parents[1] / "results"
ENTRIES = 20_000
TEXTS = (64, 512, 4096)  # bytes of an answer's text
TTL = 3600
REQUESTS = 40
GATEWAYS = 2


def completion(text: int) -> bytes:
    """A JSON answer as an engine gives it, its text that long."""
    answer = {
        "id": "chatcmpl-0123456789abcdef",
        "object": "chat.completion",
        "created": 1_800_000_000,
        "model": "zai-org/GLM-4.6V-Flash",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "x" * text}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 1100, "completion_tokens": text // 4, "total_tokens": 1100 + text // 4},
    }
    return json.dumps(answer).encode()


async def memory(url: str) -> dict[str, Any]:
    """Bytes an answer about a picture of its own takes, by the length of its text; and an identity."""
    peer = redis.Redis.from_url(url)
    settings = CacheSettings(timeout=5.0)
    store = open_store(url, settings, Metrics())
    found: dict[str, Any] = {"answer": {}}
    for text in TEXTS:
        peer.flushall()
        before = used(peer)
        cache = Cache(store, settings, Metrics())
        for number in range(ENTRIES):
            key = make_key(tenant="bench", generation="1", model="m", images=[f"{number:064x}"], question=f"{number:064x}")
            cache.keep(key, completion(text), TTL, Miss())
            if number % 200 == 199:
                await store.get(["barrier"])  # what was posted leaves with it
        found["answer"][text] = round((used(peer) - before) / ENTRIES)
    peer.flushall()
    before = used(peer)
    memo = Memo(0, store, 86_400, Metrics())
    for number in range(ENTRIES):
        memo.share(number.to_bytes(32, "big"), Identity(f"{number:064x}", 1024, 768))
        if number % 200 == 199:
            await store.get(["barrier"])
    found["identity"] = round((used(peer) - before) / ENTRIES)
    peer.flushall()
    await store.close()
    peer.close()
    return found


def used(peer: "redis.Redis") -> int:
    info: Any = peer.info("memory")
    return int(info["used_memory"])


@contextlib.contextmanager
def gateways(url: str, folder: Path, engine: str, count: int) -> Iterator[tuple[list[int], str]]:
    """`sightline serve`, that many on one Redis: their ports and the key."""
    keys = folder / "keys.yaml"
    keys.unlink(missing_ok=True)
    limits = ("requests_per_minute", "tokens_per_minute", "images_per_minute", "concurrent_requests")
    new = [sys.executable, "-m", "sightline", "keys", "new", "--tenant", "bench", "--file", str(keys)]
    key = subprocess.run(
        [*new, *(f"--limit={name}=1000000000" for name in limits)], capture_output=True, text=True, check=True
    ).stdout.strip()
    ports = [random.randrange(20_000, 30_000) for _ in range(count)]
    with contextlib.ExitStack() as stack:
        for port in ports:
            command = [sys.executable, "-m", "sightline", "serve", "--port", str(port), "--engine", engine, "--store", url]
            process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environ(keys))
            stack.callback(process.wait)
            stack.callback(process.terminate)
        for port in ports:
            until_ready(port)
        time.sleep(6)  # the gateways have counted each other
        yield ports, key


def environ(keys: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    return kept | {"SIGHTLINE_KEYS_FILE": str(keys), "SIGHTLINE_LOG_LEVEL": "error", "SIGHTLINE_CACHE__TIMEOUT": "2"}


def until_ready(port: int) -> None:
    end = time.monotonic() + 30
    while time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/health/ready")
            if connection.getresponse().status == 200:
                return
        time.sleep(0.1)
    raise SystemExit("a gateway did not become ready")


def ask(port: int, key: str, picture: bytes, question: str) -> str:
    url = "data:image/png;base64," + base64.b64encode(picture).decode()
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    body = json.dumps({"model": "scripted", "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 64})
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("POST", "/v1/chat/completions", body, {"authorization": f"Bearer {key}", "content-type": "application/json"})
    response = connection.getresponse()
    text = response.read()
    if response.status != 200:
        raise SystemExit(f"{response.status}: {text[:300]!r}")
    return response.headers["x-cache"]


def picture(seed: int) -> bytes:
    out = io.BytesIO()
    Image.frombytes("RGB", (64, 64), random.Random(seed).randbytes(3 * 64 * 64)).save(out, "PNG")
    return out.getvalue()


class Watch:
    """Counts the commands that clients send while it is entered."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.names: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._peer = redis.Redis.from_url(self._url)
        self._monitor: Any = self._peer.monitor()  # type: ignore[no-untyped-call]  # redis-py
        self._monitor.__enter__()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()
        return self

    def _listen(self) -> None:
        for command in self._monitor.listen():
            if command["client_type"] == "lua":
                continue
            name = str(command["command"]).split(" ", 1)[0].lower()
            if name == "echo":
                return
            if name not in {"info", "monitor", "client", "hello"}:
                self.names[name] = self.names.get(name, 0) + 1

    def __exit__(self, *_: object) -> None:
        peer = redis.Redis.from_url(self._url)
        peer.echo("over")
        self._thread.join(10)


def commands(url: str, folder: Path, count: int) -> dict[str, Any]:
    """Commands a request, by what it was; what gateways ask by themselves is measured beside and taken off."""
    redis.Redis.from_url(url).flushall()
    engine = subprocess.Popen(
        [sys.executable, str(RESULTS.parent / "limits/scripted.py"), "--seconds", "0.001"], stdout=subprocess.PIPE, text=True
    )
    try:
        address = (engine.stdout or io.StringIO()).readline().strip()
        with gateways(url, folder, address, count) as (ports, key):
            for seed in range(REQUESTS):
                ask(ports[0], key, picture(seed), "before")
            began = time.monotonic()
            with Watch(url) as idle:
                time.sleep(10)
            rate = sum(idle.names.values()) / (time.monotonic() - began)
            found: dict[str, Any] = {"own_per_gateway_per_second": round(rate / count, 2)}
            for kind, question, first in (("miss", "new", 0), ("hit", "new", 0), ("unseen", "new", REQUESTS)):
                began = time.monotonic()
                with Watch(url) as watch:
                    sources = [ask(ports[0], key, picture(first + seed), question) for seed in range(REQUESTS)]
                if set(sources) != {"HIT" if kind == "hit" else "MISS"}:
                    raise SystemExit(f"{kind}: {sources}")
                own = rate * (time.monotonic() - began)
                found[kind] = round((sum(watch.names.values()) - own) / REQUESTS, 1)
                found[f"{kind}_commands"] = watch.names
            stats: Any = redis.Redis.from_url(url).info("commandstats")
            found["script_us"] = stats["cmdstat_evalsha"]["usec_per_call"]
            return found
    finally:
        engine.terminate()
        engine.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--name", default="redis")
    name = parser.parse_args().name
    with server() as url, tempfile.TemporaryDirectory() as folder:
        for _ in range(100):
            with contextlib.suppress(redis.exceptions.ConnectionError):
                version: Any = redis.Redis.from_url(url).info("server")
                break
            time.sleep(0.05)
        found = {
            "machine": report.machine() | {"redis": version["redis_version"]},
            "bytes": asyncio.run(memory(url)),
            "commands": {"one gateway": commands(url, Path(folder), 1), "several": commands(url, Path(folder), GATEWAYS)},
        }
    text = json.dumps(found, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
