"""What being seen costs when much is to be seen: a scrape after ten thousand model names and a thousand keys, and 5 000 log lines a second.

    python loadtests/telemetry.py [scrape] [lines]        results/telemetry.json

scrape: a real gateway is asked for 10 000 models that nobody serves and by 1 000 keys; then `/metrics` is read twenty times.
lines: 5 000 finished requests a second for ten seconds (metrics and JSON line each), written to a pipe that somebody reads, and to one
that nobody reads; how late the event loop was at worst. The same without any lines says what the machine does by itself.
"""

import argparse
import asyncio
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import httpx
import uvloop
from loadtests.bench import report
from tests.fakes.engine import FakeEngine
from tests.keyring import KeyRing, bearer
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask

from sightline.http.middleware import CHAT
from sightline.telemetry import logs
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Record, Recorder

RESULT = Path(__file__).resolve().parent / "results/telemetry.json"
MODELS, KEYS = 10_000, 1_000
RATE, SECONDS = 5_000, 10


async def crowd(url: str, requests: list[tuple[dict[str, Any], dict[str, str]]]) -> list[int]:
    """The status of each, a hundred at a time."""
    places = asyncio.Semaphore(100)
    async with httpx.AsyncClient(base_url=url, verify=False, timeout=60, limits=httpx.Limits(max_connections=100)) as client:

        async def one(body: dict[str, Any], headers: dict[str, str]) -> int:
            async with places:
                return (await client.post(CHAT, json=body, headers=headers)).status_code

        return await asyncio.gather(*(one(body, headers) for body, headers in requests))


def scrape() -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, FakeEngine() as engine:
        ring = KeyRing(Path(folder) / "keys.yaml")
        keys = [ring.new(tenant=f"tenant-{number}", limits={"requests_per_minute": 1_000_000}) for number in range(KEYS)]
        with GatewayProcess(engine.url, environ=environment(keys_file=ring.file)) as gateway:
            ready(gateway)
            asyncio.run(crowd(gateway.url, [(ask(), bearer(keys[0])), (ask() | {"model": "nobody's"}, bearer(keys[0]))]))
            few, _ = _read(gateway)
            named = [(ask() | {"model": f"model-{os.urandom(6).hex()}"}, bearer(keys[number % KEYS])) for number in range(MODELS)]
            asked = [(ask(), bearer(key)) for key in keys]
            statuses = asyncio.run(crowd(gateway.url, named + asked))
            many, took = _read(gateway)
    if statuses != [404] * MODELS + [200] * KEYS:
        raise ValueError(f"asked in vain: {sorted(set(statuses))}")
    return {
        "models": MODELS,
        "keys": KEYS,
        "lines_before": len(few.splitlines()),
        "lines_after": len(many.splitlines()),
        "bytes_before": len(few),
        "bytes_after": len(many),
        "median_ms": round(statistics.median(took), 2),
        "worst_ms": round(max(took), 2),
    }


def _read(gateway: GatewayProcess) -> tuple[str, list[float]]:
    took = []
    for _ in range(20):
        began = time.perf_counter()
        text = gateway.client.get("/metrics").text
        took.append((time.perf_counter() - began) * 1e3)
    return text, took


@contextlib.contextmanager
def pipe(*, read: bool) -> Iterator[TextIO]:
    """The end that is written to; the other is read all the time, or only once all is over."""
    out, into = os.pipe()
    reader = threading.Thread(target=_swallow, args=(out,), daemon=True)
    if read:
        reader.start()
    with open(into, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a descriptor
        yield stream
        if not read:
            reader.start()
    reader.join(5)


def _swallow(out: int) -> None:
    while os.read(out, 1 << 20):
        pass
    os.close(out)


async def _lines(recorder: Recorder | None) -> tuple[float, int]:
    """Milliseconds that the loop was late at worst, and how many lines there were."""
    loop = asyncio.get_running_loop()
    worst, told, began = 0.0, 0, loop.time()
    while (now := loop.time()) < began + SECONDS:
        due = now + 0.001
        await asyncio.sleep(0.001)
        worst = max(worst, loop.time() - due)
        while recorder is not None and told < (loop.time() - began) * RATE:
            record = Record(f"req-{told:012d}", CHAT)
            record.status, record.model, record.tenant, record.cache = 200, "glm-4.6v-flash", "acme", "HIT"
            record.image_hash = record.question_hash = "0" * 64
            record.images, record.image_bytes, record.prompt_tokens, record.completion_tokens = 1, 100_000, 300, 40
            recorder.finish(record)
            told += 1
    return worst * 1e3, told


def lines() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in ("none", "read", "unread"):
        dropped: list[int] = []
        with pipe(read=name != "unread") as stream:
            sink = logs.configure("info", "json", stream, dropped.append)
            recorder = Recorder(Metrics()) if name != "none" else None
            worst, told = uvloop.run(_lines(recorder))
            sink.close()
        found[name] = {"lines": told, "lines_a_second": round(told / SECONDS), "worst_lag_ms": round(worst, 2), "dropped": sum(dropped)}
    return found


PARTS = {"scrape": scrape, "lines": lines}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", help=f"{', '.join(PARTS)}. Default: both")
    parts = parser.parse_args().parts or list(PARTS)
    if set(parts) - set(PARTS):
        parser.error(f"parts are {' and '.join(PARTS)}, not {' '.join(parts)}")
    kept = json.loads(RESULT.read_text(encoding="utf-8")) if RESULT.exists() else {}
    found = kept | {part: PARTS[part]() for part in parts} | {"machine": report.machine()}
    RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    print(json.dumps({part: found[part] for part in parts}, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
