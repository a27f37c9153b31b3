"""Sightline beside bare programs in Python, nginx, vllm-router and LiteLLM, over one mock engine, in one run, as ratios. See README.md.

    make bench [ARGS="--quick"]
    make bench ARGS="--workloads i100k --rounds 5 --assert 'hit.i100k.rps/litellm>=60'"

Exit status: 0 measured (and every --assert holds), 1 an assertion fails, 2 the run is invalid or could not be made.
"""

import argparse
import contextlib
import fcntl
import http.client
import operator
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from loadtests.bench import peers, report, rounds, tools
from loadtests.bench.meter import INTERVAL_US, MODES, TOKENS, Gateway, Meter, Seconds
from loadtests.bench.programs import GATEWAY, HARNESS, Command, Invalid, Program, free_port, wait_ready
from loadtests.bench.rounds import Results

RESULTS = Path(__file__).resolve().parents[1] / "results"
DEFAULT = "relay,bare,nginx,vllm-router,litellm,sightline-resend"
OPERATORS = {">=": operator.ge, "<=": operator.le, ">": operator.gt, "<": operator.lt}


@dataclass(frozen=True, slots=True)
class Assertion:
    """`CELL.METRIC[/PEER] >= NUMBER`: a ratio to that peer, or without one the median itself."""

    text: str
    cell: str
    metric: str
    peer: str | None
    sign: str
    wanted: float

    @classmethod
    def parse(cls, text: str) -> "Assertion":
        found = re.fullmatch(r"(\w+\.\w+)\.(\w+)(?:/([\w-]+))?\s*(>=|<=|>|<)\s*(-?[\d.]+)", text)
        if found is None or found[2] not in rounds.METRICS:
            raise argparse.ArgumentTypeError(f"{text!r} does not read like hit.i100k.rps/litellm>=60")
        return cls(text, found[1], found[2], found[3], found[4], float(found[5]))

    def holds(self, results: Results) -> bool:
        """Prints what was got beside what is wanted."""
        if self.cell not in results or (self.peer and self.peer not in results[self.cell]):
            raise Invalid(f"{self.text!r} speaks of what this run did not measure.")
        if self.peer:
            got = rounds.ratio(results, self.cell, report.OURS, self.peer, self.metric)
        else:
            got = rounds.median(results, self.cell, report.OURS, self.metric)
        held = bool(OPERATORS[self.sign](got, self.wanted))
        print(f"{'ok  ' if held else 'FAIL'} {self.text}: got {got:.4g}")
        return held


def session(options: argparse.Namespace, kit: tools.Tools, stack: contextlib.ExitStack) -> int:
    os.sched_setaffinity(0, {HARNESS})
    engines = {False: free_port(), True: free_port()}  # by whether it is forgetful
    mocks = {}
    for forgetful, port in engines.items():
        arguments = [str(kit.mock), "--port", str(port), "--tokens", str(TOKENS), "--interval-us", str(INTERVAL_US)]
        command = Command([*arguments, "--forgetful"] if forgetful else arguments)
        mocks[forgetful] = stack.enter_context(Program("mock", command, HARNESS, kit.home / f"logs/mock-{forgetful}.log"))
        wait_ready(mocks[forgetful], port, "/health", seconds=10)
    redis_port = free_port()
    stack.enter_context(Program("redis", peers.redis(redis_port, kit.folder("redis")), HARNESS, kit.home / "logs/redis.log"))

    everyone = [Gateway("direct", engines[False], engines[False], mocks[False])]
    for number, name in enumerate([report.OURS, *options.peers], 1):  # LiteLLM has database 0
        place = peers.Place(free_port(), engines[name in peers.FORGETFUL], redis_port, number, kit.folder(name), kit.venv)
        peer = (peers.PEERS | {report.OURS: peers.sightline})[name](place)
        program = stack.enter_context(Program(name, peer.command, GATEWAY, kit.home / f"logs/{name}.log"))
        everyone.append(Gateway(name, place.port, place.engine, program, peer.caches, peer.headers, peer.cells))
    for gateway in everyone[1:]:
        wait_ready(gateway.program, gateway.port, "/health/ready", "/v1/models", headers=gateway.headers)
        gateway.program.pin()

    meter = Meter(kit, Seconds(0.5, 0.25, 1.0) if options.quick else Seconds(0.6, 0.3, 1.3))
    began, about = time.monotonic(), {"machine": report.machine(), "peers": options.peers, "rounds_measured": options.rounds}
    alone = rounds.start(meter, everyone, options.workloads)
    results = rounds.run(meter, everyone, options.workloads, options.rounds)
    invalid, remarks = "", []
    try:
        remarks = rounds.check(meter, results, everyone, alone)
    except Invalid as error:
        invalid = str(error)
    about |= {"invalid": invalid or None, "remarks": remarks, "seconds": round(time.monotonic() - began)}
    text = report.table(results, remarks)
    print(text)
    if options.name:
        _save(options.name, text, results, about)
    if invalid:
        raise Invalid(invalid)
    failed = [assertion for assertion in options.assertions if not assertion.holds(results)]
    return 1 if failed else 0


def _save(name: str, text: str, results: Results, about: dict[str, Any]) -> None:
    """An invalid run is kept under another name: for a look, not for a table of results."""
    stem = RESULTS / (f"{name}-invalid" if about["invalid"] else name)
    RESULTS.mkdir(exist_ok=True)
    stem.with_suffix(".json").write_text(report.as_json(results, about), encoding="utf-8")
    head = "\n".join(f"{key}: {value}" for key, value in about["machine"].items())
    stem.with_suffix(".txt").write_text(f"{head}\n{text}\n", encoding="utf-8")
    report.chart(results, about, stem.with_suffix(".png"))
    print(f"{about['seconds']} s; written to {stem}.json, .txt and .png")


def _arguments(words: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--peers", type=_words, default=_words(DEFAULT), help=f"of {', '.join(peers.PEERS)}; '' for none. Default: {DEFAULT}"
    )
    parser.add_argument("--workloads", type=_words, default=list(MODES), help=f"of {', '.join(MODES)}. Default: all")
    parser.add_argument("--rounds", type=int, help="default: 3 (--quick: 1)")
    parser.add_argument("--quick", action="store_true", help="one short round, for a look; written nowhere unless --name says so")
    parser.add_argument("--name", help="of the files in loadtests/results. Default: bench")
    parser.add_argument("--assert", dest="assertions", action="append", default=[], type=Assertion.parse, metavar="CELL.METRIC[/PEER]>=X")
    options = parser.parse_args(words)
    if set(options.workloads) - set(MODES) or set(options.peers) - set(peers.PEERS):
        parser.error(f"workloads are {', '.join(MODES)}; peers are {', '.join(peers.PEERS)}")
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.name = options.name or ("" if options.quick else "bench")
    return options


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def main() -> int:
    options = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what was started is ended
    try:
        if (os.cpu_count() or 1) < 2:
            raise Invalid("two CPUs are needed: one for the gateway, one for everything else.")
        if "nginx" in options.peers and shutil.which("nginx", path="/usr/sbin") is None:
            raise Invalid("nginx is missing: `make programs`.")
        kit = tools.prepare(peers=bool(peers.FROM_VENV & set(options.peers)))
        with (kit.home / "lock").open("w") as lock, contextlib.ExitStack() as stack:
            fcntl.flock(lock, fcntl.LOCK_EX)  # one measurement at a time
            return session(options, kit, stack)
    except Invalid as error:
        print(f"INVALID: {error}", file=sys.stderr)
    except (OSError, http.client.HTTPException, subprocess.SubprocessError) as error:
        print(f"INVALID: the run broke off: {error!r}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
