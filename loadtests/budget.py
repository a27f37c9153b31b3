"""What a request costs the gateway on each of its paths, beside what it may cost: budget.json. See README.md beside this.

    make budget                      a table; exit status 0 whatever it says, so that CI may print it
    make budget ARGS=--strict        1: a path costs more than allowed; 2: nothing was measured
    make budget ARGS=--record        what it costs now is what is allowed from here on

Counted in instructions where the machine counts them (`perf stat -e instructions:u`), and always in units of bench/yardstick.py, which
runs on the gateway's core at the same time: never in wall time. One process, all features on, a real Redis, a mock engine.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadtests import rig
from loadtests.bench import report
from loadtests.bench.meter import CONNECTIONS, Gateway, Meter, Seconds
from loadtests.bench.programs import GATEWAY, HARNESS, Invalid, Program, first, on_core

HERE = Path(__file__).resolve().parent
BUDGET, YARDSTICK = HERE / "budget.json", HERE / "bench/yardstick.py"
PATHS = {"hit": ("hit", "i100k"), "miss": ("miss", "i100k"), "unseen": ("unseen", "i100k"), "stream": ("sse", "sse")}
TOLERANCE = {"instructions": 0.05, "units": 0.2}  # medians of the same code differ: in instructions hardly, in units by 10 %
EVENT = "instructions:u"


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one request: units of the yardstick, CPU microseconds, and instructions where they can be counted."""

    units: float
    cpu_us: float
    instructions: float | None = None

    @classmethod
    def median(cls, found: Sequence["Cost"]) -> Self:
        counted = [cost.instructions for cost in found if cost.instructions]
        middle = round(statistics.median(counted)) if len(counted) == len(found) else None
        return cls(
            round(statistics.median(cost.units for cost in found), 3), round(statistics.median(cost.cpu_us for cost in found), 1), middle
        )


@dataclass(frozen=True, slots=True)
class Line:
    path: str
    counted: str  # instructions or units
    got: float
    allowed: float

    @property
    def share(self) -> float:
        return self.got / self.allowed

    @property
    def verdict(self) -> str:
        tolerance = TOLERANCE[self.counted]
        if self.share > 1 + tolerance:
            return "OVER"
        return "cheaper: record it" if self.share < 1 - tolerance else "ok"

    def __str__(self) -> str:
        shown = f"{self.got:,.0f}" if self.counted == "instructions" else f"{self.got:.2f}"
        allowed = f"{self.allowed:,.0f}" if self.counted == "instructions" else f"{self.allowed:.2f}"
        return f"{self.path:<8}{shown:>14}{allowed:>14}{self.share:>8.2f}   {self.counted:<14}{self.verdict}"


def compared(found: Mapping[str, Cost], allowed: Mapping[str, Mapping[str, float | None]]) -> list[Line]:
    """In instructions where both have them, else in units. Raises Invalid for a path that the budget does not know."""
    lines = []
    for path, cost in found.items():
        if path not in allowed:
            raise Invalid(f"{BUDGET.name} does not say what {path} may cost: `make budget ARGS=--record`.")
        counted = "instructions" if cost.instructions and allowed[path]["instructions"] else "units"
        got, most = getattr(cost, counted), allowed[path][counted]
        if not got or not most:
            raise Invalid(f"{path}: no {counted} were counted.")
        lines.append(Line(path, counted, got, most))
    return lines


def counts(text: str) -> float | None:
    """What `perf stat -x,` counted; None where it could not."""
    for line in text.splitlines():
        amount, comma, _ = line.partition(",")
        with contextlib.suppress(ValueError):
            if comma:
                return float(amount)
    return None


def countable(event: str) -> bool:
    """Whether this machine counts it: virtual ones seldom count instructions."""
    try:
        done = subprocess.run(["perf", "stat", "-x,", "-e", event, "true"], capture_output=True, text=True, timeout=30, check=False)
    except OSError:
        return False
    return done.returncode == 0 and counts(done.stderr) is not None


class Perf:
    """`perf stat` on a program's processes while the block runs."""

    def __init__(self, program: Program, event: str) -> None:
        pids = ",".join(map(str, program.pids()))
        self._popen = subprocess.Popen(
            ["perf", "stat", "-x,", "-e", event, "-p", pids], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        time.sleep(0.2)  # until it has attached itself

    def stop(self) -> float | None:
        self._popen.send_signal(signal.SIGINT)
        return counts(self._popen.communicate(timeout=30)[1])


class Yardstick:
    """The yardstick on the gateway's core; `unit_us` is what a unit cost between two moments."""

    def __init__(self) -> None:
        with on_core(GATEWAY):
            self._popen = subprocess.Popen([sys.executable, str(YARDSTICK)], stdout=subprocess.PIPE, text=True, start_new_session=True)
        first(self._popen.pid)  # as the gateway, or it would have what that leaves
        self._marks: list[tuple[float, int, int]] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        for line in self._popen.stdout or ():
            done, nanoseconds = line.split()
            self._marks.append((time.monotonic(), int(done), int(nanoseconds)))

    def unit_us(self, begin: float, end: float) -> float:
        within = [mark for mark in self._marks if begin <= mark[0] <= end]
        if len(within) < 3:
            raise Invalid("the yardstick did not get on: the gateway's core is too busy with other work.")
        (_, first, before), (_, last, after) = within[0], within[-1]
        return (after - before) / (last - first) / 1e3

    def stop(self) -> None:
        self._popen.kill()
        self._popen.wait()
        self._reader.join()
        if self._popen.stdout:
            self._popen.stdout.close()


@contextlib.contextmanager
def yardstick() -> Iterator[Yardstick]:
    running = Yardstick()
    try:
        yield running
    finally:
        running.stop()


def measured(stands: rig.Rig, paths: Sequence[str], rounds: int, seconds: float, event: str | None) -> dict[str, Cost]:
    """All paths by turns, so that a disturbance hits them alike; medians of the rounds. Raises Invalid as the bench's meter does."""
    os.sched_setaffinity(0, {HARNESS})
    meter = Meter(stands.kit, Seconds(seconds, seconds, seconds))
    gateway = Gateway("sightline", stands.port, stands.engine, stands.gateway, caches=True, headers=stands.headers)
    found: dict[str, list[Cost]] = {path: [] for path in paths}
    for path in paths:
        meter.prime(gateway, *PATHS[path])
        meter.load(gateway, *PATHS[path], CONNECTIONS[PATHS[path][1]], 0.2, seconds)  # what is done only once: imports, pools, malloc
    with yardstick() as beside:
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            for path in paths:
                perf = Perf(stands.gateway, event) if event else None
                begin = time.monotonic()
                try:
                    load = meter.load(gateway, *PATHS[path], CONNECTIONS[PATHS[path][1]], 0.2, seconds)
                finally:
                    counted = perf.stop() if perf else None
                if load["cpu_us"] <= 0:
                    raise Invalid(f"{path}: no CPU time was counted.")
                unit = beside.unit_us(begin, time.monotonic())
                found[path].append(Cost(load["cpu_us"] / unit, load["cpu_us"], counted / load["sent"] if counted else None))
    return {path: Cost.median(costs) for path, costs in found.items()}


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", action="store_true", help="write budget.json instead of comparing with it")
    parser.add_argument("--strict", action="store_true", help="exit status 1 when a path costs too much, 2 when nothing was measured")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1.0, help="that each path is measured in each round")
    parser.add_argument("--paths", type=lambda text: text.split(","), default=list(PATHS), help=f"of {', '.join(PATHS)}. Default: all")
    parser.add_argument("--budget", type=Path, default=BUDGET, help="the file of what is allowed")
    parser.add_argument(
        "--event", default=EVENT, help=argparse.SUPPRESS
    )  # another one that perf counts, to try the way on a machine that counts no instructions
    wanted = parser.parse_args()
    if set(wanted.paths) - set(PATHS) or wanted.rounds < 1:
        parser.error(f"paths are {', '.join(PATHS)}; rounds are 1 or more")
    return wanted


def _run(wanted: argparse.Namespace) -> int:
    event = wanted.event if countable(wanted.event) else None
    if event is None:
        print("instructions are not counted on this machine, so units of the yardstick are compared", file=sys.stderr)
    with rig.standing("budget", delay_us=0) as stands:
        found = measured(stands, wanted.paths, wanted.rounds, wanted.seconds, event)
    if wanted.record:
        paths = {path: asdict(cost) for path, cost in found.items()}
        if wanted.budget.exists():  # a path that was not measured now keeps what it has
            paths = json.loads(wanted.budget.read_text(encoding="utf-8"))["paths"] | paths
        told = {"recorded": report.machine(), "paths": paths}
        wanted.budget.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
        print(f"written to {wanted.budget}: {', '.join(f'{path} {cost.units:.2f} units' for path, cost in found.items())}")
        return 0
    lines = compared(found, json.loads(wanted.budget.read_text(encoding="utf-8"))["paths"])
    print(f"{'path':<8}{'got':>14}{'allowed':>14}{'share':>8}   counted in")
    for line in lines:
        print(f"{line}   ({found[line.path].cpu_us:.0f} CPU µs here)")
    return 1 if any(line.verdict == "OVER" for line in lines) else 0


def main() -> int:
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what was started is ended
    try:
        status = _run(wanted)
    except (Invalid, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        print(f"INVALID: {error}", file=sys.stderr)
        status = 2
    return status if wanted.strict or wanted.record else 0


if __name__ == "__main__":
    sys.exit(main())
