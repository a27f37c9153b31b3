"""Real vLLM asked directly and through Sightline, by turns in one run, as ratios.

    python loadtests/bench/real.py [--requests 480] [--rounds 3] [--engine http://127.0.0.1:8000]

Nobody's pictures are asked twice by accident: each list of requests has plates of its own, drawn from fresh seeds, so that the engine's own
caches know none of them when it begins. Without --engine the demo model is served here (`sightline engine run`) on a core of its own;
gateway, Redis and load share the other, as they leave a GPU alone. An engine that runs already is asked with $SIGHTLINE_ENGINE_KEY.
Exit status 2: the run says nothing.
"""

import argparse
import asyncio
import base64
import contextlib
import io
import json
import os
import secrets
import signal
import statistics
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any
from urllib.parse import urlsplit

import aiohttp

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "deploy/engine/demo-model"))
import plates
from loadtests.bench import peers, report, tools
from loadtests.bench.programs import GATEWAY, HARNESS, Command, Invalid, Program, free_port, on_core, wait_ready

RESULTS = Path(__file__).resolve().parents[1] / "results"
SHARES = (0.0, 0.4, 0.8)
KINDS = tuple(plates.QUESTIONS)
MODEL = "sightline-demo"
AGAIN = "all of it once more"


@dataclass(frozen=True, slots=True)
class Place:
    """Who is asked."""

    url: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answered:
    """Seconds to the first token and to the end, what was said, and `x-cache`."""

    first: float
    took: float
    text: str
    cache: str


def plate(seed: int, *, photo: bool = False) -> str:
    """A plate as a data URI: as drawn (PNG, 3 kB), or on a photograph-like canvas (JPEG, 1024×768)."""
    drawn, out = plates.plate(plates.FRESH + seed).picture, io.BytesIO()
    if photo:
        plates.on_canvas(drawn, Random(seed), size=(1024, 768))[0].save(out, "JPEG", quality=88)
    else:
        drawn.save(out, "PNG")
    return f"data:image/{'jpeg' if photo else 'png'};base64,{base64.b64encode(out.getvalue()).decode()}"


def body(picture: str, question: str) -> bytes:
    content = [{"type": "image_url", "image_url": {"url": picture}}, {"type": "text", "text": question}]
    messages = [{"role": "user", "content": content}]
    return json.dumps({"model": MODEL, "messages": messages, "temperature": 0, "max_tokens": 96, "stream": True}).encode()


def workload(count: int, repeats: float, shape: Random, seeds: Random) -> list[bytes]:
    """`count` requests of which that share asks again what was asked before; two with one `shape` differ in their plates only."""
    again = set(shape.sample(range(1, count), round(count * repeats)))
    new: list[bytes] = []
    asked = []
    for number in range(count):
        if number in again:
            asked.append(shape.choice(new))
            continue
        question = shape.choice(plates.QUESTIONS[shape.choice(KINDS)])
        new.append(body(plate(seeds.randrange(2**30)), question))
        asked.append(new[-1])
    return asked


async def ask(session: aiohttp.ClientSession, place: Place, request: bytes) -> Answered:
    began, first, pieces = time.perf_counter(), 0.0, []
    async with session.post(
        f"{place.url}/v1/chat/completions", data=request, headers={"Content-Type": "application/json", **place.headers}
    ) as answer:
        if answer.status != 200:
            raise Invalid(f"{place.url}: status {answer.status}: {(await answer.text())[:300]}")
        async for line in answer.content:
            if not line.startswith(b"data: {"):
                continue
            for choice in json.loads(line[6:])["choices"]:
                if text := choice["delta"].get("content"):
                    first = first or time.perf_counter() - began
                    pieces.append(text)
    return Answered(first, time.perf_counter() - began, "".join(pieces), answer.headers.get("x-cache", ""))


async def all_of(place: Place, requests: Sequence[bytes], concurrency: int) -> dict[str, Any]:
    """The whole list, in order, by so many clients: what it took."""
    left, answers = iter(requests), []

    async def client(session: aiohttp.ClientSession) -> None:
        for request in left:  # shared: each client takes the next one
            answers.append(await ask(session, place, request))  # noqa: PERF401 - they are to stand there as they come

    # vLLM closes idle connections after 5 s: a kept one would be used just when it goes.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=2)) as session:
        began = time.perf_counter()
        await asyncio.gather(*(client(session) for _ in range(concurrency)))
        seconds = time.perf_counter() - began
    return {
        "per_second": len(requests) / seconds,
        "first_ms_p50": statistics.median(answer.first for answer in answers) * 1e3,
        "whole_ms_p50": statistics.median(answer.took for answer in answers) * 1e3,
        "x_cache": dict(Counter(answer.cache for answer in answers if answer.cache)),
    }


async def repeats(direct: Place, ours: Place, options: argparse.Namespace) -> dict[str, Any]:
    """Throughput at each share of repeats, and of the same list once more (`warm`), by turns; medians of paired ratios."""
    found: dict[str, Any] = {}
    seeds = Random(secrets.randbits(64))
    for share in SHARES:
        pairs = []
        for number in range(options.rounds):
            lists = [(place, workload(options.requests, share, Random(number), seeds)) for place in (direct, ours)]
            cold: dict[str, Any] = {}
            for place, requests in lists if number % 2 == 0 else reversed(lists):
                cold[place.url] = await all_of(place, requests, options.concurrency)
            warm = {place.url: await all_of(place, requests, options.concurrency) for place, requests in lists} if share == 0.0 else {}
            _proven(cold[ours.url], round(options.requests * share))
            pairs.append({"cold": [cold[direct.url], cold[ours.url]], **({"warm": [warm[direct.url], warm[ours.url]]} if warm else {})})
            ratio = cold[ours.url]["per_second"] / cold[direct.url]["per_second"]
            print(f"repeats {share:.0%}, round {number + 1}: {ratio:.2f} × direct", file=sys.stderr)
        for state in pairs[0]:
            found[_row(share) if state == "cold" else AGAIN] = _compared([pair[state] for pair in pairs])
    _bound(found)
    return found


def _row(share: float) -> str:
    return f"{share:.0%} repeats"


def _bound(found: dict[str, Any]) -> None:
    """What an answer kept for nothing could win at most: the engine has caches too, and answers a repeat cheaper than a first time."""
    repeat = found[_row(0.0)]["direct_per_second"] / found[AGAIN]["direct_per_second"]  # of the cost of a first time
    for share in SHARES[1:]:
        found[_row(share)]["at_most"] = round(1 + repeat * share / (1 - share), 2)


def _proven(ran: Mapping[str, Any], due: int) -> None:
    kept = sum(ran["x_cache"].get(name, 0) for name in ("HIT", "COALESCED"))
    if kept != due:
        raise Invalid(f"{kept} answers came without an engine call of their own where {due} were due: {ran['x_cache']}.")


def _compared(pairs: Sequence[Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    def middle(side: int, name: str) -> float:
        return round(statistics.median([float(pair[side][name]) for pair in pairs]), 2)

    names = ("per_second", "first_ms_p50", "whole_ms_p50")
    ratios = {f"{name}_ratio": round(statistics.median(ours[name] / direct[name] for direct, ours in pairs), 3) for name in names}
    sides = {f"{who}_{name}": middle(side, name) for side, who in enumerate(("direct", "sightline")) for name in names}
    return ratios | sides | {"ratios_by_round": [round(ours["per_second"] / direct["per_second"], 3) for direct, ours in pairs]}


async def new_questions(direct: Place, ours: Place, count: int, *, photo: bool) -> dict[str, Any]:
    """One client: a picture never seen, another question about it, the first question again. Medians of the ms to the first token."""
    seeds = Random(secrets.randbits(64))
    first: dict[str, list[float]] = {}
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(keepalive_timeout=2)) as session:
        for _ in range(count):
            for who, place in (("direct", direct), ("sightline", ours)):
                picture = plate(seeds.randrange(2**30), photo=photo)
                one, other = body(picture, "Is there a scratch?"), body(picture, "What is the serial number?")
                for step, request in (("cold", one), ("new_question", other), ("same_question", one)):
                    answer = await ask(session, place, request)
                    if who == "sightline" and (answer.cache == "HIT") != (step == "same_question"):
                        raise Invalid(f"{step}: x-cache is {answer.cache}.")
                    first.setdefault(f"{who}_{step}_ms", []).append(answer.first * 1e3)
    ms = {name: round(statistics.median(values), 2) for name, values in first.items()}
    return {
        "new_question_ratio": round(ms["sightline_new_question_ms"] / ms["direct_new_question_ms"], 3),
        "cold_ratio": round(ms["sightline_cold_ms"] / ms["direct_cold_ms"], 3),
        "hit_to_engine_cold": round(ms["sightline_same_question_ms"] / ms["direct_cold_ms"], 4),
        "hit_to_engine_warm": round(ms["sightline_same_question_ms"] / ms["direct_same_question_ms"], 4),
        **ms,
    }


def table(found: Mapping[str, Any]) -> str:
    lines = [f"{'sightline / direct':<22}{'req/s':>8}{'first token':>13}{'whole':>8}{'at most':>9}   req/s direct, sightline; by round"]
    for name, row in found["repeats"].items():
        ratios = f"{row['per_second_ratio']:>8.2f}{row['first_ms_p50_ratio']:>13.2f}{row['whole_ms_p50_ratio']:>8.2f}"
        most = f"{row['at_most']:.2f}" if "at_most" in row else ""
        lines.append(
            f"{name:<22}{ratios}{most:>9}   {row['direct_per_second']:.1f}, {row['sightline_per_second']:.1f}; {row['ratios_by_round']}"
        )
    lines += ["", f"{'first token, ms':<22}{'direct':>10}{'sightline':>11}{'ratio':>8}"]
    for picture in ("plate", "photo"):
        row = found[picture]
        for step in ("cold", "new_question", "same_question"):
            one, other = row[f"direct_{step}_ms"], row[f"sightline_{step}_ms"]
            lines.append(f"{f'{picture}, {step}'.replace('_', ' '):<22}{one:>10.2f}{other:>11.2f}{other / one:>8.3f}")
        lines.append(f"  a hit's first token / the engine's on a picture never seen: {row['hit_to_engine_cold']}")
    return "\n".join(lines)


async def run(options: argparse.Namespace, kit: tools.Tools, stack: contextlib.ExitStack) -> dict[str, Any]:
    key = os.environ.get("SIGHTLINE_ENGINE_KEY") if options.engine else secrets.token_hex(16)
    port = urlsplit(options.engine).port if options.engine else free_port()
    if port is None or (options.engine and urlsplit(options.engine).hostname not in {"127.0.0.1", "localhost"}):
        raise Invalid("--engine should be http://127.0.0.1:PORT, so that gateway and direct take the same way.")
    if not options.engine:
        command = Command(
            [sys.executable, "-m", "sightline", "engine", "run", "--cpu", "--port", str(port)], {"SIGHTLINE_ENGINE_KEY": str(key)}
        )
        engine = stack.enter_context(Program("engine", command, GATEWAY, kit.home / "logs/real-engine.log"))
        wait_ready(engine, port, "/health", seconds=300)
    redis_port = free_port()
    stack.enter_context(Program("redis", peers.redis(redis_port, kit.folder("real-redis")), HARNESS, kit.home / "logs/real-redis.log"))
    place = peers.Place(free_port(), port, redis_port, 0, kit.folder("real"), kit.venv)
    ours = peers.sightline(place, **({"ENGINE_KEY": key} if key else {}))
    gateway = stack.enter_context(Program("sightline", ours.command, HARNESS, kit.home / "logs/real-sightline.log"))
    wait_ready(gateway, place.port, "/health/ready")
    direct = Place(f"http://127.0.0.1:{port}", {"Authorization": f"Bearer {key}"} if key else {})
    through = Place(f"http://127.0.0.1:{place.port}", ours.headers)
    shape, seeds = Random(0), Random(secrets.randbits(64))
    for warming in (direct, through):  # what both do only once: kernels, connections, the first picture
        await all_of(warming, workload(16, 0.0, shape, seeds), options.concurrency)
    return {
        "machine": report.machine(),
        "requests": options.requests,
        "concurrency": options.concurrency,
        "repeats": await repeats(direct, through, options),
        "plate": await new_questions(direct, through, options.pictures, photo=False),
        "photo": await new_questions(direct, through, options.pictures, photo=True),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", help="an engine with the demo model that runs already, on the loopback")
    parser.add_argument("--requests", type=int, default=480, help="in each list")
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--pictures", type=int, default=12, help="for first tokens, of each kind")
    parser.add_argument("--name", default="real", help="of the files in loadtests/results; '' writes none")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what was started is ended
    try:
        kit = tools.prepare(peers=False)
        with contextlib.ExitStack() as stack, on_core(HARNESS):
            found = asyncio.run(run(options, kit, stack))
    except (Invalid, OSError, aiohttp.ClientError) as error:
        print(f"INVALID: {error!r}" if not isinstance(error, Invalid) else f"INVALID: {error}", file=sys.stderr)
        return 2
    text = table(found)
    print(text)
    if options.name:
        head = "\n".join(f"{name}: {value}" for name, value in found["machine"].items())
        (RESULTS / f"{options.name}.json").write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        (RESULTS / f"{options.name}.txt").write_text(f"{head}\n\n{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
