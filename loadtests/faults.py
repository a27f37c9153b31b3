"""Two promises under load, with figures: Redis dies and nobody notices much; a crowd with one question is one engine call.

    python loadtests/faults.py [--seconds 6] [--rate 150] [--name faults]

A mock engine that answers after a fixed time, a real redis-server on the core of the load, Sightline alone on the other. Requests leave
by the clock, not when the last one is answered, so that a slow answer delays none of the others. Exit status 2: the run says nothing.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadtests.bench import peers, report, tools
from loadtests.bench.programs import GATEWAY, HARNESS, Command, Invalid, Program, ask, free_port, on_core, wait_ready

RESULTS = Path(__file__).resolve().parent / "results"
ENGINE_MS = 20
CROWD = 100


@dataclass(frozen=True, slots=True)
class Answered:
    """One request: when it left and what it took, in seconds, its status (0: none came) and `x-cache`."""

    left: float
    took: float
    status: int
    cache: str


@dataclass(frozen=True, slots=True)
class Rig:
    port: int
    engine: int
    headers: dict[str, str]
    redis_port: int
    folder: Path
    kit: tools.Tools

    def redis(self) -> Program:
        return Program("redis", peers.redis(self.redis_port, self.folder), HARNESS, self.kit.home / "logs/faults-redis.log")


def crowd() -> aiohttp.ClientSession:
    """As many connections as there are requests."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0), timeout=aiohttp.ClientTimeout(total=20))


async def one(session: aiohttp.ClientSession, rig: Rig, question: str) -> Answered:
    body = {"model": "mock-vl", "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 64}
    left = time.monotonic()
    try:
        async with session.post(f"http://127.0.0.1:{rig.port}/v1/chat/completions", json=body, headers=rig.headers) as answer:
            text = await answer.read()
            status = answer.status if b'"choices"' in text or answer.status != 200 else 0
            return Answered(left, time.monotonic() - left, status, answer.headers.get("x-cache", ""))
    except (aiohttp.ClientError, TimeoutError):
        return Answered(left, time.monotonic() - left, 0, "")


async def redis_goes(rig: Rig, *, how: str, seconds: float, rate: float) -> dict[str, Any]:
    """Load at `rate`, half of it repeats; Redis is killed (or stands still) after a third, and is there again after two."""
    redis = rig.redis()
    try:
        await _until(lambda: _cached(rig), 10.0, "Redis was not used")
        done: list[Answered] = []
        async with crowd() as session, asyncio.TaskGroup() as group:
            began = time.monotonic()
            load = group.create_task(_load(session, rig, began, 3 * seconds, rate, done))
            await asyncio.sleep(seconds)
            gone = time.monotonic()
            os.kill(redis.popen.pid, signal.SIGKILL if how == "killed" else signal.SIGSTOP)
            await asyncio.sleep(seconds)
            back = time.monotonic()
            if how == "killed":
                redis.stop()
                redis = rig.redis()
            else:
                os.kill(redis.popen.pid, signal.SIGCONT)
            await load
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(redis.popen.pid, signal.SIGCONT)
        redis.stop()
    return _told(done, gone, back)


async def _load(session: aiohttp.ClientSession, rig: Rig, began: float, seconds: float, rate: float, done: list[Answered]) -> None:
    async def counted(question: str) -> None:
        done.append(await one(session, rig, question))

    async with asyncio.TaskGroup() as group:
        for number in range(int(seconds * rate)):
            await asyncio.sleep(max(0.0, began + number / rate - time.monotonic()))
            group.create_task(counted(f"{began} {number if number % 2 else number % 20}"))


def _told(done: Sequence[Answered], gone: float, back: float) -> dict[str, Any]:
    """A request that reached the engine before the fault is compared with one that reached it after: hits are what the fault takes away."""
    calm = [answer.took * 1e3 for answer in done if answer.left < gone - 0.2 and answer.cache == "MISS"]
    # The first that lost Redis: those under way or sent within the half second in which the breaker opens.
    first = [answer.took * 1e3 for answer in done if answer.left + answer.took >= gone and answer.left < gone + 0.5]
    opened = [answer.took * 1e3 for answer in done if gone + 1.0 <= answer.left < back and answer.cache != "HIT"]
    healed = min((answer.left + answer.took for answer in done if answer.left > back and answer.cache in {"MISS", "HIT"}), default=None)
    if not calm or not first or not opened:
        raise Invalid("too few requests to say anything: a higher --rate or more --seconds.")
    usual, usual99 = statistics.median(calm), _quantile(calm, 0.99)
    return {
        "requests": len(done),
        "lost": sum(answer.status != 200 for answer in done),
        "ms_before_p50": usual,
        "ms_before_p99": usual99,
        "ms_before_worst": max(calm),
        "added_ms_at_the_fault_worst": max(first) - usual,
        "added_ms_while_open_p50": statistics.median(opened) - usual,
        "added_ms_while_open_p99": _quantile(opened, 0.99) - usual99,
        "healed_after_s": healed - back if healed is not None else None,
        "answers_while_gone": dict(Counter(answer.cache for answer in done if gone + 0.2 < answer.left < back)),
    }


async def stampede(rig: Rig) -> dict[str, Any]:
    """A hundred identical requests that nobody asked before, at once, every other one streamed."""
    question = f"stampede {time.time_ns()}"
    before = _calls(rig)
    async with crowd() as session:
        answers = await asyncio.gather(*(_text(session, rig, question, streamed=number % 2 == 0) for number in range(CROWD)))
    return {
        "requests": CROWD,
        "streamed": CROWD // 2,
        "engine_calls": _calls(rig) - before,
        "answered": sum(status == 200 and bool(text) for status, _, text in answers),
        "different_answers": len({text for _, _, text in answers}),
        "x_cache": dict(Counter(cache for _, cache, _ in answers)),
    }


async def _text(session: aiohttp.ClientSession, rig: Rig, question: str, *, streamed: bool) -> tuple[int, str, str]:
    body = {"model": "mock-vl", "messages": [{"role": "user", "content": question}], "temperature": 0, "max_tokens": 64, "stream": streamed}
    async with session.post(f"http://127.0.0.1:{rig.port}/v1/chat/completions", json=body, headers=rig.headers) as answer:
        text, cache = (await answer.read()).decode(), answer.headers.get("x-cache", "")
    if answer.status != 200 or not streamed:
        return answer.status, cache, json.loads(text)["choices"][0]["message"]["content"] if answer.status == 200 else ""
    events = [line[6:] for line in text.splitlines() if line.startswith("data: ")]
    chunks = [json.loads(event) for event in events if event != "[DONE]"]
    whole = "".join(choice["delta"].get("content") or "" for chunk in chunks for choice in chunk["choices"])
    return (answer.status if events[-1] == "[DONE]" else 0), cache, whole


async def _cached(rig: Rig) -> bool:
    """Whether Redis is in use: the second time is a hit."""
    async with aiohttp.ClientSession() as session:
        question = f"ready {time.time_ns()}"
        return [(await one(session, rig, question)).cache for _ in range(2)] == ["MISS", "HIT"]


async def _bypasses(rig: Rig) -> bool:
    async with aiohttp.ClientSession() as session:
        return (await one(session, rig, f"gone {time.time_ns()}")).cache == "BYPASS"


async def _until(holds: Callable[[], Awaitable[bool]], seconds: float, otherwise: str) -> None:
    end = time.monotonic() + seconds
    while not await holds():
        if time.monotonic() > end:
            raise Invalid(f"{otherwise} within {seconds:g} s.")
        await asyncio.sleep(0.1)


def _calls(rig: Rig) -> int:
    return int(json.loads(ask(rig.engine, "/counter")[1])["requests"])


def _quantile(values: Sequence[float], share: float) -> float:
    return sorted(values)[int(share * (len(values) - 1))]


async def run(options: argparse.Namespace, kit: tools.Tools, stack: contextlib.ExitStack) -> dict[str, Any]:
    engine, redis_port = free_port(), free_port()
    mock = Command([str(kit.mock), "--port", str(engine), "--delay-us", str(ENGINE_MS * 1000), "--interval-us", "2000"])
    wait_ready(stack.enter_context(Program("mock", mock, HARNESS, kit.home / "logs/faults-mock.log")), engine, "/health", seconds=10)
    place = peers.Place(free_port(), engine, redis_port, 0, kit.folder("faults"), kit.venv)
    ours = peers.sightline(place, CACHE__TIMEOUT="0.05")
    gateway = stack.enter_context(Program("sightline", ours.command, GATEWAY, kit.home / "logs/faults-sightline.log"))
    wait_ready(gateway, place.port, "/health/ready")
    gateway.pin()
    rig = Rig(place.port, engine, dict(ours.headers), redis_port, kit.folder("faults-redis"), kit)
    found: dict[str, Any] = {"machine": report.machine(), "engine_ms": ENGINE_MS, "rate": options.rate}
    for how in ("killed", "stopped"):
        found[f"redis {how}"] = await redis_goes(rig, how=how, seconds=options.seconds, rate=options.rate)
        if not gateway.running:
            raise Invalid(f"the gateway ended:\n{gateway.tail()}")
    redis = stack.enter_context(rig.redis())
    await _until(lambda: _cached(rig), 10.0, "Redis was not used")
    found["stampede"] = await stampede(rig)
    found["stampede without Redis"] = await _without(rig, redis)
    return found


async def _without(rig: Rig, redis: Program) -> dict[str, Any]:
    redis.stop()
    await _until(lambda: _bypasses(rig), 10.0, "the end of Redis was not noticed")
    return await stampede(rig)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0, help="before the fault, during it, and after it")
    parser.add_argument("--rate", type=float, default=150.0, help="requests/s")
    parser.add_argument("--name", default="faults", help="of the file in loadtests/results; '' writes none")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what was started is ended
    try:
        kit = tools.prepare(peers=False)
        with contextlib.ExitStack() as stack, on_core(HARNESS):
            found = asyncio.run(run(options, kit, stack))
    except (Invalid, OSError) as error:
        print(f"INVALID: {error}", file=sys.stderr)
        return 2
    text = json.dumps(found, indent=1)
    print(text)
    if options.name:
        (RESULTS / f"{options.name}.json").write_text(text + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
