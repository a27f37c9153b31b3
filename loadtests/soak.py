"""Does memory stay flat? An hour of mixed load (unseen pictures, repeats, streams, clients that leave, bad input), and the gateway's RSS.

    make soak                              an hour; results/soak.{json,png}
    make soak ARGS="--minutes 10 --users 20"

The gateway's own processes are looked at every two seconds. `growth` is the Theil-Sen slope after the warm-up, in which caches fill.
Exit status: 0 within the limits, 1 not, 2 the run says nothing (a request failed, somebody died, too few samples).
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadtests import rig
from loadtests.bench import report
from loadtests.bench.programs import Invalid, Program
from loadtests.bench.tools import home
from loadtests.load import locust
from loadtests.pictures import album

RESULTS = Path(__file__).resolve().parent / "results"
MOST_MB, MOST_GROWTH = 400, 1.0  # MB, MB a minute
EVERY = 2.0
MB = 2**20


@dataclass(frozen=True, slots=True)
class Sample:
    seconds: float
    megabytes: float


def slope(samples: Sequence[Sample]) -> float:
    """Theil-Sen: the median of all pairs' slopes, in MB a minute. A step or a spike does not move it."""
    pairs = combinations(samples, 2)
    return statistics.median((late.megabytes - early.megabytes) / (late.seconds - early.seconds) * 60 for early, late in pairs)


def judged(samples: Sequence[Sample], warm: float) -> dict[str, Any]:
    """What the samples say; `warm` is the second from which growth counts. Raises Invalid when they say nothing."""
    after = [sample for sample in samples if sample.seconds >= warm]
    if len(after) < 10:
        raise Invalid(f"{len(after)} samples after the warm-up say nothing about growth: more --minutes.")
    thinned = after[:: max(1, len(after) // 600)]  # pairs grow with the square
    most, growth = max(sample.megabytes for sample in samples), slope(thinned)
    return {
        "most_mb": round(most, 1),
        "growth_mb_a_minute": round(growth, 3),
        "at_the_start_mb": round(samples[0].megabytes, 1),
        "after_warm_up_mb": round(after[0].megabytes, 1),
        "at_the_end_mb": round(after[-1].megabytes, 1),
        "within": {f"RSS ≤ {MOST_MB} MB": most <= MOST_MB, f"growth ≤ {MOST_GROWTH:g} MB a minute": growth <= MOST_GROWTH},
    }


def resident(program: Program) -> float:
    """MB of all its processes."""
    pages = 0
    for pid in program.pids():
        with contextlib.suppress(OSError):
            pages += int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / MB


def watched(stands: rig.Rig, load: subprocess.Popen[bytes]) -> list[Sample]:
    """Until the load ends. Raises Invalid if the gateway ends before it."""
    samples, began = [], time.monotonic()
    while load.poll() is None:
        if not stands.gateway.running:
            raise Invalid(f"the gateway ended under load: {stands.gateway.tail()}")
        samples.append(Sample(round(time.monotonic() - began, 1), round(resident(stands.gateway), 2)))
        with contextlib.suppress(subprocess.TimeoutExpired):
            load.wait(EVERY)
    return samples


def run(wanted: argparse.Namespace) -> dict[str, Any]:
    album.drawn(home() / "album")
    with rig.standing("soak") as stands:
        stem = stands.kit.folder("soak-load") / "load"
        words = ["--headless", "--only-summary", "-u", str(wanted.users), "-r", "5", "-t", f"{wanted.minutes * 60:.0f}s"]
        words += ["--every", str(wanted.every), "--report", str(stem), "--max-error-rate", "0"]
        load = locust(stands.url, stands.key, words)
        try:
            samples = watched(stands, load)
        finally:
            load.terminate()
            load.wait()
        if load.returncode:
            raise Invalid(f"the load did not go through (exit status {load.returncode}); see {stem}.json.")
        asked = json.loads(Path(f"{stem}.json").read_text(encoding="utf-8"))["summary"]
    warm = wanted.minutes * 60 * wanted.warm_up
    return {
        "machine": report.machine(),
        "minutes": wanted.minutes,
        "warm_up_seconds": warm,
        "users": wanted.users,
        **judged(samples, warm),
        "load": asked,
        "samples": [[sample.seconds, sample.megabytes] for sample in samples],
    }


def chart(found: dict[str, Any], file: Path) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(10, 4), constrained_layout=True)
    minutes = [seconds / 60 for seconds, _ in found["samples"]]
    axis.plot(minutes, [megabytes for _, megabytes in found["samples"]], color="#3c6ec8", linewidth=1.5)
    axis.axhline(MOST_MB, color="#b3261e", linestyle=":", label=f"limit, {MOST_MB} MB")
    axis.axvspan(0, found["warm_up_seconds"] / 60, color="#eceff5", label="warm-up")
    axis.set_ylim(bottom=0)
    axis.set_xlim(0, minutes[-1])
    axis.set_xlabel("minutes")
    load, machine = found["load"]["all"], found["machine"]
    axis.set_title(
        f"gateway's RSS, MB · at most {found['most_mb']}, growth {found['growth_mb_a_minute']} a minute · {load['count']:.0f} requests",
        loc="left",
    )
    axis.legend(loc="lower right", frameon=False)
    axis.spines[["top", "right"]].set_visible(False)
    figure.text(0.99, 0.01, f"{machine['cpu']} · {machine['commit']} · {machine['when']}", ha="right", fontsize=7, color="grey")
    figure.savefig(file, dpi=110)
    plt.close(figure)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--warm-up", type=float, default=0.25, help="share of the time that growth leaves out: caches of 250 MB fill in it")
    parser.add_argument("--users", type=int, default=40)
    parser.add_argument("--every", type=float, default=0.5, help="mean seconds between a user's questions")
    parser.add_argument("--name", default="soak", help="of the files in loadtests/results; '' writes none")
    wanted = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what was started is ended
    try:
        found = run(wanted)
    except (Invalid, OSError, ValueError, LookupError, subprocess.SubprocessError) as error:
        print(f"INVALID: {error}", file=sys.stderr)
        return 2
    print(json.dumps({name: value for name, value in found.items() if name not in {"samples", "load"}}, indent=1, ensure_ascii=False))
    if wanted.name:
        (RESULTS / f"{wanted.name}.json").write_text(json.dumps(found, ensure_ascii=False) + "\n", encoding="utf-8")
        chart(found, RESULTS / f"{wanted.name}.png")
    return 0 if all(found["within"].values()) else 1


if __name__ == "__main__":
    sys.exit(main())
