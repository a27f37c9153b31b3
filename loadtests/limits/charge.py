"""What auth and limits cost a kept answer: µs of this process's CPU a request, step by step, without a network or a Redis in between.

    python loadtests/limits/charge.py [--calls 20000]

The script's reply is canned, so what Redis itself spends is not counted, nor is the look-up that a hit costs in any case.
"""

import argparse
import asyncio
import hashlib
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from sightline.limits.callers import Callers
from sightline.limits.limiter import Cost, Limiter
from sightline.limits.quotas import MemoryQuotas
from sightline.limits.shared import RedisQuotas, ReplicatedQuotas
from sightline.settings import Limits
from sightline.telemetry.metrics import Metrics

KEY = "sl-0123456789abcdef"
HIT = [b"1800000000.25", 1, b"kept", None, b"3", b"1000", b"4"]


class Canned:
    """In the place of a Redis store: every look-up is a hit, every limit has room."""

    one_slot = True

    async def evaluate(self, operation: str, script: object, keys: Sequence[str], args: Sequence[Any]) -> Any:  # noqa: ARG002 - a store's
        return HIT


async def cost(work: Callable[[], Awaitable[object]], calls: int) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        for _ in range(calls // 5):
            await work()
        best = min(best, (time.process_time() - began) / (calls // 5))
    return best * 1e6


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=20_000)
    calls = parser.parse_args().calls
    metrics = Metrics()
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "keys.yaml"
        limits = {"requests_per_minute": 600, "tokens_per_minute": 1_000_000, "images_per_minute": 600, "concurrent_requests": 10}
        digest = hashlib.sha256(KEY.encode()).hexdigest()
        entry = {"id": "key_1", "digest": digest, "tenant": "acme", "created": "2026-01-01", "limits": limits}
        file.write_text(yaml.safe_dump({"keys": [entry]}))
        callers = Callers(file, Limits(), metrics)
    headers = [f"Bearer {KEY}".encode()]
    caller = callers.identify(headers)
    shared = RedisQuotas(Canned(), largest=2**20)  # type: ignore[arg-type]  # the one method of a store that is used here
    limiter = Limiter(ReplicatedQuotas(shared, MemoryQuotas(), metrics), metrics, time.monotonic)
    permit = await limiter.take(caller, Cost(500, 1), ["a", "b"], answer=True)

    async def identify() -> object:
        return callers.identify(headers)

    async def take() -> object:
        return await limiter.take(caller, Cost(500, 1), ["a", "b"], answer=True)

    async def tell() -> object:
        return permit.lines()

    async def whole() -> None:
        found = callers.identify(headers)
        limiter.check(found)
        taken = await limiter.take(found, Cost(500, 1), ["a", "b"], answer=True)
        taken.lines()
        taken.settle(0)

    for name, work in (("identify", identify), ("take", take), ("headers", tell), ("all, with settle", whole)):
        sys.stdout.write(f"{name:20} {await cost(work, calls):6.1f} µs\n")


if __name__ == "__main__":
    asyncio.run(main())
