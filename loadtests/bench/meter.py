"""One measurement of one gateway: the load generator's figures, with proof that each answer was the engine's and each hit a hit."""

import json
import os
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.bodies import MARK
from loadtests.bench.programs import GATEWAY, HARNESS, Invalid, Program, ask, on_core
from loadtests.bench.tools import Tools

MODES = {"text": ("miss", "hit"), "i100k": ("miss", "hit", "unseen"), "i1m": ("miss", "hit", "unseen"), "sse": ("sse",)}
CONNECTIONS = {"text": 16, "i100k": 8, "i1m": 4, "sse": 16}
TOKENS, INTERVAL_US = 64, 5000
LATENCIES = ("p50", "p99", "ttfb50", "ttfb99", "tok50", "tok99")
PATH = "/v1/chat/completions"

Found = dict[str, float]


def cell_name(mode: str, workload: str) -> str:
    return f"{mode}.{'text' if workload == 'sse' else workload}"


@dataclass(frozen=True, slots=True)
class Gateway:
    """Who is measured; `engine` is the port of the mock behind it, whose counter proves what it was asked."""

    name: str
    port: int
    engine: int
    program: Program
    caches: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    cells: frozenset[str] | None = None

    def takes(self, cell: str) -> bool:
        return self.cells is None or cell in self.cells


@dataclass(frozen=True, slots=True)
class Seconds:
    """How long the load lasts, at full concurrency, at one connection, and of streams."""

    load: float
    calm: float
    stream: float


class Meter:
    def __init__(self, tools: Tools, seconds: Seconds) -> None:
        self._tools = tools
        self._seconds = seconds
        self._nonce = int(time.time()) << 20  # no question of an earlier run is asked again
        self._expected = ""
        self.paces: list[float] = []

    def prime(self, gateway: Gateway, mode: str, workload: str) -> None:
        """One real request, read with care; for `hit`, again until the engine is no longer asked."""
        # A streamed question of its own, as one cache entry may serve both renderings.
        body = self._files(mode, workload)[0].read_bytes().replace(MARK, (b"S" if workload == "sse" else b"A") * len(MARK))
        where = f"{gateway.name}, {cell_name(mode, workload)}"
        for _ in range(40):
            before = self._counter(gateway)
            status, answer = ask(gateway.port, PATH, body, gateway.headers)
            self._read(where, status, answer, streamed=workload == "sse")
            if mode != "hit" or not gateway.caches or self._counter(gateway) == before:
                return
            time.sleep(0.05)
        raise Invalid(f"{where}: the engine is asked again about what it has answered 40 times: nothing is kept.")

    def measure(self, gateway: Gateway, mode: str, workload: str) -> Found:
        pace = self._pace()
        if mode == "sse":
            busy = calm = self.load(gateway, mode, workload, CONNECTIONS[workload], 0.4, self._seconds.stream)
        else:
            calm = self.load(gateway, mode, workload, 1, 0.05, self._seconds.calm)
            busy = self.full(gateway, mode, workload)
        found = {"rps": busy["rps"], "cpu": busy["cpu_us"], "util": busy["cpu_util"], "harness": busy["core_busy"], "pace": pace}
        return found | {key: calm[key] for key in LATENCIES}

    def full(self, gateway: Gateway, mode: str, workload: str) -> Found:
        """At full concurrency."""
        return self.load(gateway, mode, workload, CONNECTIONS[workload], 0.15, self._seconds.load)

    def load(self, gateway: Gateway, mode: str, workload: str, connections: int, warmup: float, seconds: float) -> Found:
        """The load generator's figures. Raises Invalid if a request failed, or the engine was asked more or less often than is due."""
        flags = {
            "--port": gateway.port, "--connections": connections, "--nonce": self._nonce, "--warmup": warmup, "--duration": seconds,
            "--min-requests": 8, "--core": HARNESS, "--pids": ",".join(map(str, gateway.program.pids())),
        }  # fmt: skip
        if mode == "sse":
            flags["--stagger-us"] = TOKENS * INTERVAL_US // connections
        command = [str(self._tools.lg), *(str(word) for item in flags.items() for word in item)]
        command += [word for path in self._files(mode, workload) for word in ("--body", str(path))]
        command += [word for item in gateway.headers.items() for word in ("--header", ": ".join(item))]
        command += {"hit": [], "unseen": ["--new-image"]}.get(mode, ["--new-question"])
        where, before = f"{gateway.name}, {cell_name(mode, workload)}, {connections} connections", self._counter(gateway)
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode:
            raise Invalid(f"{where}: the load generator failed: {done.stderr.strip()}")
        result: Found = json.loads(done.stdout)
        self._nonce = int(result["next"])
        if result["errors"] or not result["n"]:
            raise Invalid(f"{where}: {result['errors']:.0f} of {result['sent']:.0f} requests failed. {done.stderr.strip()}")
        asked, hits = self._counter(gateway) - before, mode == "hit" and gateway.caches
        if asked != (0 if hits else result["sent"]):
            due = "none" if hits else "one each"
            raise Invalid(f"{where}: {result['sent']:.0f} requests made {asked} engine calls, where {due} was due.")
        return result

    def _files(self, mode: str, workload: str) -> list[Path]:
        files = self._tools.bodies(workload)
        return files if mode == "unseen" else files[:1]

    @staticmethod
    def _counter(gateway: Gateway) -> int:
        return int(json.loads(ask(gateway.engine, "/counter")[1])["requests"])

    def _pace(self) -> float:
        """Milliseconds for a fixed piece of work on the gateways' core: how fast, and how free, that core is just now."""
        with on_core(GATEWAY):
            began = time.perf_counter()
            sum(number * number for number in range(200_000))
            self.paces.append((time.perf_counter() - began) * 1e3)
        os.sched_setaffinity(0, {HARNESS})
        return self.paces[-1]

    def _read(self, where: str, status: int, answer: bytes, *, streamed: bool) -> None:
        """Raises Invalid unless this is what the engine said."""
        try:
            right = status == 200 and (_is_stream(answer) if streamed else self._is_answer(answer))
        except (ValueError, LookupError, TypeError, AttributeError):
            right = False
        if not right:
            raise Invalid(f"{where}: the answer is not what the engine said (status {status}): {answer[:300]!r}")

    def _is_answer(self, answer: bytes) -> bool:
        completion = json.loads(answer)
        choice = completion["choices"][0]
        self._expected = self._expected or choice["message"]["content"]  # the first to be asked is the engine itself
        told = choice["message"]["content"] == self._expected and choice["finish_reason"] == "stop"
        return bool(told and completion["usage"]["total_tokens"] == 846)


def _is_stream(answer: bytes) -> bool:
    events = [line[6:] for line in answer.decode().splitlines() if line.startswith("data: ")]
    chunks = [json.loads(event) for event in events[:-1]]
    choices = [choice for chunk in chunks for choice in chunk["choices"]]
    text = "".join(choice["delta"].get("content") or "" for choice in choices)
    whole = text.count("tk") == TOKENS and chunks[-1]["usage"]["completion_tokens"] == TOKENS
    ended = events[-1] == "[DONE]" and any(choice.get("finish_reason") == "stop" for choice in choices)
    return bool(whole and ended and choices[0]["delta"]["role"] == "assistant")
