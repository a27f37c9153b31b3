"""Pictures that were never seen, a second and core: the whole gateway beside a bare loop of JSON, base64, Pillow's decode and a digest.

    python loadtests/pictures/unseen.py [--rounds 7]        results/unseen.json

The same 100 kB JPEGs, by turns on the same core; the loop has no server round it, no cache, no limits, and throws the pixels away once it
has their digest. Medians of the rounds' quotients of CPU time. Exit status: 0 at least 0.6, 1 not, 2 the run says nothing.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pybase64
from blake3 import blake3
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from loadtests import rig
from loadtests.bench import report
from loadtests.bench.meter import CONNECTIONS, Gateway, Meter, Seconds
from loadtests.bench.programs import GATEWAY, HARNESS, Invalid, on_core

RESULT = Path(__file__).resolve().parents[1] / "results/unseen.json"
CELL = ("unseen", "i100k")
LEAST = 0.6


def bare(bodies: list[bytes], seconds: float) -> float:
    """CPU microseconds a picture."""
    began, end, count = time.process_time(), time.monotonic() + seconds, 0
    while time.monotonic() < end:
        request = json.loads(bodies[count % len(bodies)])
        (url,) = [part["image_url"]["url"] for part in request["messages"][-1]["content"] if part["type"] == "image_url"]
        picture = Image.open(BytesIO(pybase64.b64decode(url.partition(",")[2]))).convert("RGB")
        blake3(picture.tobytes()).digest()
        count += 1
    return (time.process_time() - began) / count * 1e6


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2.0, help="that each is measured in each round")
    parser.add_argument("--loop", action="store_true", help=argparse.SUPPRESS)  # the bare loop alone: bodies' paths on standard input
    wanted = parser.parse_args()
    if wanted.loop:
        print(bare([Path(line.strip()).read_bytes() for line in sys.stdin], wanted.seconds))
        return 0
    rounds: list[tuple[float, float]] = []
    try:
        with rig.standing("unseen", delay_us=0) as stands:
            os.sched_setaffinity(0, {HARNESS})
            meter = Meter(stands.kit, Seconds(wanted.seconds, wanted.seconds, wanted.seconds))
            gateway = Gateway("sightline", stands.port, stands.engine, stands.gateway, caches=True, headers=stands.headers)
            paths = "\n".join(map(str, stands.kit.bodies(CELL[1])))
            meter.prime(gateway, *CELL)
            for number in range(wanted.rounds):
                print(f"round {number + 1} of {wanted.rounds}", file=sys.stderr)
                ours = meter.load(gateway, *CELL, CONNECTIONS[CELL[1]], 0.2, wanted.seconds)["cpu_us"]
                with on_core(GATEWAY):
                    command = [sys.executable, __file__, "--loop", "--seconds", str(wanted.seconds)]
                    done = subprocess.run(command, input=paths, capture_output=True, text=True, check=True)
                os.sched_setaffinity(0, {HARNESS})
                rounds.append((ours, float(done.stdout)))
    except (Invalid, OSError, ValueError, subprocess.SubprocessError) as error:
        print(f"INVALID: {error}", file=sys.stderr)
        return 2
    ratio = statistics.median(loop / ours for ours, loop in rounds)
    ours, loop = (statistics.median(side) for side in zip(*rounds, strict=True))
    told = {
        "machine": report.machine(),
        "ratio": round(ratio, 3),
        "sightline_cpu_us": round(ours),
        "bare_cpu_us": round(loop),
        "rounds": rounds,
    }
    RESULT.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(f"unseen 100 kB pictures a second and core, Sightline ÷ bare loop: {ratio:.2f} ({1e6 / ours:.0f} and {1e6 / loop:.0f} a second)")
    return 0 if ratio >= LEAST else 1


if __name__ == "__main__":
    sys.exit(main())
