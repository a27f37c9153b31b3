"""What a look-up in Redis costs this process, beside redis-py's: µs of CPU a call, the two measured by turns in one run.

    python loadtests/store/bench.py [--redis redis://127.0.0.1:6379] [--calls 5000] [--rounds 5]

Without `--redis` it starts a redis-server of its own on a free port of the loopback and ends it.
"""

import argparse
import asyncio
import contextlib
import shutil
import socket
import statistics
import subprocess
import time
from collections.abc import Awaitable, Callable, Iterator

import redis.asyncio
import uvloop

from sightline.settings import Cache
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics

Get = Callable[[], Awaitable[object]]

SIZES = (1_000, 100_000)
CROWDS = (1, 32)  # look-ups under way at once


@contextlib.contextmanager
def server() -> Iterator[str]:
    program = shutil.which("redis-server")
    if program is None:
        raise SystemExit("there is no redis-server here: name one with --redis")
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    process = subprocess.Popen([program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""], stdout=subprocess.DEVNULL)
    try:
        yield f"redis://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


async def cost(get: Get, crowd: int, calls: int) -> float:
    """µs of this process's CPU for one call."""

    async def caller() -> None:
        for _ in range(calls // crowd):
            await get()

    began = time.process_time()
    await asyncio.gather(*(caller() for _ in range(crowd)))
    return (time.process_time() - began) * 1e6 / (calls // crowd * crowd)


async def compare(url: str, calls: int, rounds: int) -> None:
    store = open_store(url, Cache(timeout=5.0), Metrics())
    peer = redis.asyncio.from_url(url, protocol=2)
    for _ in range(100):  # until the server has come up
        with contextlib.suppress(redis.exceptions.ConnectionError):
            await peer.ping()
            break
        await asyncio.sleep(0.05)
    print(f"{'value':>8} {'at once':>8} {'redis-py µs':>12} {'sightline µs':>13} {'ratio':>6}")
    for size in SIZES:
        key = f"sightline:bench:{size}"
        await store.put(key, b"x" * size, 600)
        for crowd in CROWDS:
            theirs, ours = [], []
            for _ in range(rounds):
                theirs.append(await cost(lambda: peer.get(key), crowd, calls))  # noqa: B023  # awaited within the turn
                ours.append(await cost(lambda: store.get([key]), crowd, calls))  # noqa: B023  # awaited within the turn
            them, us = statistics.median(theirs), statistics.median(ours)
            print(f"{size:>8} {crowd:>8} {them:>12.1f} {us:>13.1f} {them / us:>6.1f}")
        await store.delete([key])
    await peer.aclose()
    await store.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--redis")
    parser.add_argument("--calls", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        url = options.redis or stack.enter_context(server())
        uvloop.run(compare(url, options.calls, options.rounds))


if __name__ == "__main__":
    main()
