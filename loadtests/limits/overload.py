"""Four times what an engine can do, for a minute; then an engine that becomes five times slower, and quick again. One process each.

    python loadtests/limits/overload.py [--places 32] [--seconds 0.4] [--times 4] [--for 60] [--step 40] [--out loadtests/results/overload]

Requests come at random moments at a steady rate, whether or not earlier ones were answered, as a crowd of people does. The gateway has
`limits.adaptive` and nothing else set. Writes OUT.json and OUT.png; exits with 1 when a figure is missed.
"""

import argparse
import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl

mpl.use("Agg")
from matplotlib import pyplot as plt

SCRIPTED = Path(__file__).with_name("scripted.py")
SETTLED = 30.0  # seconds that a limit may take to follow a step


@dataclass
class Wire:
    """Connections to one server, used again and again; as many as are needed at once."""

    host: str
    port: int
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = field(default_factory=list)

    async def ask(self, method: str, path: str, body: bytes = b"") -> tuple[int, bytes]:
        self.idle = [one for one in self.idle if not one[0].at_eof()]  # servers close what has rested for long
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port)
        head = f"{method} {path} HTTP/1.1\r\nhost: {self.host}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(answer.partition(b"content-length:")[2].split(b"\r\n", 1)[0])
        content = await reader.readexactly(length)
        self.idle.append((reader, writer))
        return int(answer.split(b" ", 2)[1]), content


@dataclass
class Outcome:
    """(when it ended since the start, how long it took) of what was answered, of what was refused, and of hits."""

    answered: list[tuple[float, float]] = field(default_factory=list)
    refused: list[tuple[float, float]] = field(default_factory=list)
    hits: list[tuple[float, float]] = field(default_factory=list)
    failed: list[int] = field(default_factory=list)
    inside: list[tuple[float, int]] = field(default_factory=list)  # when, how many requests were at the engine


class Load:
    def __init__(self, gateway: Wire, engine: Wire) -> None:
        self.gateway, self.engine = gateway, engine
        self.began = time.perf_counter()
        self.number = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def one(self, outcome: Outcome, *, hit: bool = False) -> None:
        self.number += 1
        body = json.dumps({"model": "scripted", "messages": [{"role": "user", "content": "same" if hit else f"question {self.number}"}]})
        asked = time.perf_counter()
        status, _ = await self.gateway.ask("POST", "/v1/chat/completions", body.encode())
        now = time.perf_counter()
        lists = {200: outcome.hits if hit else outcome.answered, 503: outcome.refused, 429: outcome.refused}
        if status in lists:
            lists[status].append((now - self.began, now - asked))
        else:
            outcome.failed.append(status)

    async def at(self, rate: float, seconds: float, outcome: Outcome | None = None) -> Outcome:
        """Requests at `rate` a second, come what may, and five hits a second beside them."""
        outcome = outcome or Outcome()
        end = time.perf_counter() + seconds
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(outcome))
            hits = group.create_task(self._hits(outcome))
            due = time.perf_counter()
            while (due := due + random.expovariate(rate)) < end:
                await asyncio.sleep(due - time.perf_counter())
                group.create_task(self.one(outcome))
            watch.cancel()
            hits.cancel()
        return outcome

    async def crowd(self, size: int, seconds: float) -> Outcome:
        """As many as the engine has places, each asking again at once: the most that can be had from it."""
        outcome = Outcome()
        end = time.perf_counter() + seconds

        async def caller() -> None:
            while time.perf_counter() < end:
                await self.one(outcome)

        await asyncio.gather(*(caller() for _ in range(size)))
        return outcome

    async def _watch(self, outcome: Outcome) -> None:
        while True:
            _, state = await self.engine.ask("GET", "/state")
            outcome.inside.append((time.perf_counter() - self.began, sum(json.loads(state).values())))
            await asyncio.sleep(0.25)

    async def _hits(self, outcome: Outcome) -> None:
        while True:
            await asyncio.sleep(0.2)
            await self.one(outcome, hit=True)


def p99(pairs: list[tuple[float, float]]) -> float:
    times = sorted(took for _, took in pairs)
    return times[min(len(times) - 1, int(0.99 * len(times)))] if times else float("nan")


def rate(pairs: list[tuple[float, float]], since: float, until: float) -> float:
    return sum(since <= when < until for when, _ in pairs) / (until - since)


async def measure(wanted: argparse.Namespace, gateway: Wire, engine: Wire) -> dict[str, Any]:
    load = Load(gateway, engine)
    capacity = wanted.places / wanted.seconds
    with contextlib.suppress(asyncio.IncompleteReadError):
        await load.one(Outcome(), hit=True)  # so that there is something to hit
    quiet = await load.at(capacity / 10, 10)
    await load.crowd(wanted.places, 10)  # the adaptive limit finds its level
    before = time.perf_counter() - load.began
    full = await load.crowd(wanted.places, 10)
    peak = rate(full.answered, before, before + 10)
    begin = time.perf_counter() - load.began
    crowd = await load.at(wanted.times * capacity, wanted.minute)
    end = begin + wanted.minute

    steps = Outcome()
    marks = [time.perf_counter() - load.began]
    for seconds, factor in ((wanted.step / 2, 1), (wanted.step, 5), (wanted.step, 1)):
        await engine.ask("POST", f"/seconds/{wanted.seconds * factor}")
        await load.at(2 * capacity, seconds, steps)
        marks.append(time.perf_counter() - load.began)
    last = marks[-1] - 10, marks[-1] - wanted.seconds
    slow = marks[2] - 10, marks[2]
    return {
        "engine": {"places": wanted.places, "seconds": wanted.seconds, "capacity_per_second": capacity},
        "unloaded_p99_ms": p99(quiet.answered) * 1e3,
        "peak_per_second": peak,
        "overload": {
            "offered_per_second": wanted.times * capacity,
            "seconds": wanted.minute,
            "goodput_per_second": rate(crowd.answered, begin, end),
            "accepted_p99_ms": p99(crowd.answered) * 1e3,
            "refused": len(crowd.refused),
            "refused_p99_ms": p99(crowd.refused) * 1e3,
            "hits_p99_ms": p99(crowd.hits) * 1e3,
            "hits": len(crowd.hits),
            "failed": crowd.failed,
        },
        "step": {
            "seconds": [wanted.seconds, wanted.seconds * 5, wanted.seconds],
            "goodput_while_slow_per_second": rate(steps.answered, *slow),
            "goodput_at_the_end_per_second": rate(steps.answered, *last),
            "failed": steps.failed,
        },
        "series": {
            "overload": {"answered": crowd.answered, "refused": crowd.refused, "inside": crowd.inside, "begin": begin, "end": end},
            "step": {"answered": steps.answered, "refused": steps.refused, "inside": steps.inside, "marks": marks},
        },
    }


def figures(found: dict[str, Any]) -> dict[str, bool]:
    over, step, peak = found["overload"], found["step"], found["peak_per_second"]
    return {
        "goodput ≥ 90 % of peak": over["goodput_per_second"] >= 0.9 * peak,
        "accepted p99 ≤ 2 × unloaded": over["accepted_p99_ms"] <= 2 * found["unloaded_p99_ms"],
        "refusals ≤ 50 ms (p99)": over["refused_p99_ms"] <= 50,
        "nothing failed otherwise": not over["failed"] and not step["failed"],
        "after the step up: ≥ 90 % of what the slow engine can do": step["goodput_while_slow_per_second"] >= 0.9 * peak / 5,
        "after the step down: ≥ 90 % of peak again": step["goodput_at_the_end_per_second"] >= 0.9 * peak,
    }


def draw(found: dict[str, Any], file: Path) -> None:
    figure, rows = plt.subplots(2, 2, figsize=(11, 6), constrained_layout=True)
    for column, (name, title) in enumerate((("overload", "overload"), ("step", "engine 5 × slower, and quick again, at 2 × capacity"))):
        series = found["series"][name]
        start = series["begin"] if name == "overload" else series["marks"][0]
        end = series["end"] if name == "overload" else series["marks"][-1]
        edges = [start + second for second in range(int(end - start) + 1)]
        top, bottom = rows[0][column], rows[1][column]
        for label, colour in (("answered", "tab:green"), ("refused", "tab:red")):
            counts = [sum(low <= when < low + 1 for when, _ in series[label]) for low in edges]
            top.plot([low - start for low in edges], counts, colour, label=f"{label} a second")
        top.axhline(found["peak_per_second"], color="grey", linestyle=":", label="peak")
        top.set_title(title)
        top.legend(loc="upper right", fontsize=8)
        bottom.plot(
            [when - start for when, _ in series["answered"]], [took for _, took in series["answered"]], ".", markersize=1, label="answer, s"
        )
        bottom.plot(
            [when - start for when, _ in series["refused"]], [took for _, took in series["refused"]], ".", markersize=1, color="tab:red"
        )
        bottom.set_ylim(bottom=0)
        bottom.set_ylabel("seconds to an answer (blue), a refusal (red)", fontsize=8)
        inside = bottom.twinx()
        inside.plot([when - start for when, _ in series["inside"]], [count for _, count in series["inside"]], "tab:orange", linewidth=1)
        inside.set_ylabel("requests at the engine", fontsize=8, color="tab:orange")
        inside.set_ylim(bottom=0)
        for mark in series.get("marks", [])[1:-1]:
            bottom.axvline(mark - start, color="grey", linestyle=":")
        bottom.set_xlabel("seconds")
    figure.savefig(file, dpi=90)


@contextlib.contextmanager
def running(wanted: argparse.Namespace) -> Iterator[tuple[Wire, Wire]]:
    """The engine and the gateway, each a process of its own on a free port of the loopback."""
    engine = subprocess.Popen(
        [sys.executable, str(SCRIPTED), "--places", str(wanted.places), "--seconds", str(wanted.seconds)], stdout=subprocess.PIPE, text=True
    )
    gateway = None
    try:
        assert engine.stdout is not None
        url = engine.stdout.readline().strip()
        with socket.socket() as one:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
        command = [str(Path(sys.executable).with_name("sightline")), "serve", "--engine", url, "--port", str(port)]
        gateway = subprocess.Popen(
            command, env=environ | {"SIGHTLINE_LIMITS__ADAPTIVE": "true"}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        limit = time.monotonic() + 30
        while time.monotonic() < limit:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                break
            time.sleep(0.1)
        time.sleep(1)
        yield Wire("127.0.0.1", port), Wire("127.0.0.1", int(url.rpartition(":")[2]))
    finally:
        for process in (gateway, engine):
            if process is not None:
                process.kill()
                process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--places", type=int, default=32, help="answers that the engine gives at once")
    parser.add_argument("--seconds", type=float, default=0.4, help="that an answer takes")
    parser.add_argument("--times", type=float, default=4, help="the engine's capacity")
    parser.add_argument("--for", dest="minute", type=float, default=60, help="seconds of overload")
    parser.add_argument("--step", type=float, default=40, help="seconds that the slow engine is slow, and then that it is quick again")
    parser.add_argument("--out", type=Path, default=Path("loadtests/results/overload"))
    wanted = parser.parse_args()
    with running(wanted) as (gateway, engine):
        found = asyncio.run(measure(wanted, gateway, engine))
    wanted.out.parent.mkdir(parents=True, exist_ok=True)
    draw(found, wanted.out.with_suffix(".png"))
    del found["series"]
    found["met"] = figures(found)
    wanted.out.with_suffix(".json").write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    sys.stdout.write(json.dumps(found, indent=1, ensure_ascii=False) + "\n")
    return 0 if all(found["met"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
