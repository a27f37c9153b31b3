"""What its parts cost a kept answer: the whole gateway beside one without metrics and log lines, and one without keys and limits.

    python loadtests/shares.py [--rounds 9]        results/shares.json

All three are asked by turns for the same 100 kB picture, on one core, over one Redis: shares are of CPU time a request, paired by round,
medians of the rounds. Exit status: 0 within the limits (8 % and 15 % of a kept answer's cost), 1 not, 2 the run says nothing.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadtests import rig
from loadtests.bench import peers, report
from loadtests.bench.meter import CONNECTIONS, Gateway, Meter, Seconds
from loadtests.bench.programs import GATEWAY, HARNESS, Command, Invalid, Program, free_port, wait_ready

RESULT = Path(__file__).resolve().parent / "results/shares.json"
CELL = ("hit", "i100k")
# What a record is turned into, metrics and log line, is left out; the record itself is not, since limits need what it holds.
UNTOLD = """
from sightline.telemetry import record
record.Recorder.finish = lambda self, told: None
from sightline.cli.main import main
main()
"""
MOST = {"metrics and log line": 0.08, "keys and limits": 0.15}


def measured(rounds: int, seconds: float) -> dict[str, list[float]]:
    """CPU microseconds a request, by gateway, one a round."""
    with rig.standing("shares", delay_us=0) as stands, contextlib.ExitStack() as stack:
        meter = Meter(stands.kit, Seconds(seconds, seconds, seconds))
        whole = Gateway("whole", stands.port, stands.engine, stands.gateway, caches=True, headers=stands.headers)
        gateways = {"whole": whole}
        for name in ("untold", "open"):
            place = peers.Place(free_port(), stands.engine, stands.redis, 0, stands.kit.folder(f"shares-{name}"), stands.kit.venv)
            peer = peers.sightline(place)
            command = peer.command
            if name == "untold":
                words = command.arguments[command.arguments.index("serve") :]
                command = Command([sys.executable, "-c", UNTOLD, *words], command.environ)
            else:
                command = Command(command.arguments, {key: value for key, value in command.environ.items() if key != "SIGHTLINE_KEYS_FILE"})
            program = stack.enter_context(Program(name, command, GATEWAY, stands.kit.home / f"logs/shares-{name}.log"))
            wait_ready(program, place.port, "/health/ready")
            program.pin()
            gateways[name] = Gateway(
                name, place.port, stands.engine, program, caches=True, headers=peer.headers if name == "untold" else {}
            )
        os.sched_setaffinity(0, {HARNESS})
        found: dict[str, list[float]] = {name: [] for name in gateways}
        for gateway in gateways.values():
            meter.prime(gateway, *CELL)
            meter.load(gateway, *CELL, CONNECTIONS[CELL[1]], 0.2, seconds)
        for number in range(rounds):
            print(f"round {number + 1} of {rounds}", file=sys.stderr)
            turn = list(gateways.items())
            for name, gateway in turn[number % 3 :] + turn[: number % 3]:
                found[name].append(meter.load(gateway, *CELL, CONNECTIONS[CELL[1]], 0.2, seconds)["cpu_us"])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--seconds", type=float, default=2.0, help="that each is measured in each round")
    wanted = parser.parse_args()
    try:
        found = measured(wanted.rounds, wanted.seconds)
    except (Invalid, OSError, subprocess.SubprocessError) as error:
        print(f"INVALID: {error}", file=sys.stderr)
        return 2
    shares = {
        part: round(statistics.median(1 - without / whole for without, whole in zip(found[name], found["whole"], strict=True)), 4)
        for part, name in (("metrics and log line", "untold"), ("keys and limits", "open"))
    }
    cpu = {name: round(statistics.median(values), 1) for name, values in found.items()}
    RESULT.write_text(
        json.dumps({"machine": report.machine(), "cpu_us_a_request": cpu, "share_of_a_hit": shares, "rounds": found}, indent=1) + "\n",
        encoding="utf-8",
    )
    for part, share in shares.items():
        print(f"{part:<22}{share:>7.1%} of a kept answer's CPU (at most {MOST[part]:.0%})")
    print(", ".join(f"{name} {value:g} µs" for name, value in cpu.items()))
    return 0 if all(share <= MOST[part] for part, share in shares.items()) else 1


if __name__ == "__main__":
    sys.exit(main())
