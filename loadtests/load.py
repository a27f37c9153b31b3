"""Starts what the users of locustfile.py need, lets them loose on it, and writes the report: `make load`. See README.md beside this.

    make load                                              a minute of the mix before a mock engine; results/load.{json,png,html}
    make load ARGS="--real"                                before real vLLM with the demo model (40 to 140 s more)
    make load ARGS="--web"                                 Locust's page instead, at http://127.0.0.1:8089
    make load ARGS="--host https://sightline.example.org"  what runs already; the key in $SIGHTLINE_KEY
    make load ARGS="-u 200 -t 10m --processes 4 --name peak Audit Dashboard --max-ttft-p95 120"

All that it does not know goes to Locust. Exit status: 0 all limits hold, 1 one does not, 2 the run says nothing.
"""

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadtests import rig
from loadtests.bench.programs import GATEWAY, Invalid
from loadtests.bench.tools import home
from loadtests.pictures import album

from sightline import __version__

LOCUST = Path(sys.executable).parents[1] / "locust/bin/locust"  # an environment of its own: see pyproject.toml
HERE = Path(__file__).resolve().parent
# What an engine of a million weights on one core can take: it reads 2048 tokens, and answers some 30 times a second.
SMALL, SLOW = 448, ("--every", "2", "--obey-schema")


def locust(host: str, key: str, words: Sequence[str]) -> subprocess.Popen[bytes]:
    """Locust in a process of its own, on the cores that the measured one leaves. Raises Invalid."""
    if not LOCUST.exists():
        raise Invalid("Locust is not installed: `make load` does that.")
    command = [str(LOCUST), "-f", str(HERE / "locustfile.py"), "--host", host, *words]
    environ: Mapping[str, str] = os.environ | {"SIGHTLINE_KEY": key}
    process = subprocess.Popen(command, env=environ, cwd=HERE.parent)
    with contextlib.suppress(OSError):
        os.sched_setaffinity(process.pid, os.sched_getaffinity(0) - {GATEWAY})
    return process


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False)
    parser.add_argument("--real", action="store_true", help="real vLLM with the demo model on the CPU, instead of a mock")
    parser.add_argument("--host", help="what runs already; nothing is started")
    parser.add_argument("--web", action="store_true", help="Locust's page on the loopback instead of a run")
    parser.add_argument("-u", "--users", default="50")
    parser.add_argument("-r", "--spawn-rate", default="10")
    parser.add_argument("-t", "--run-time", default="60s")
    parser.add_argument("--name", help="of the files in loadtests/results. Default: load, or load-real")
    parser.add_argument("--longest-side", type=int, help="px: draw no larger pictures. Default: 4096, with --real 448")
    wanted, words = parser.parse_known_args()
    side = wanted.longest_side or (SMALL if wanted.real else 4096)
    words = [*(SLOW if wanted.real else ()), "-u", wanted.users, "-r", wanted.spawn_rate, "--longest-side", str(side), *words]
    if wanted.web:
        words += ["--web-host", "127.0.0.1"]
    else:
        words += ["--headless", "--only-summary", "-t", wanted.run_time]
        words += ["--report", wanted.name or ("load-real" if wanted.real else "load")]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(2))  # so that what was started is ended
    try:
        with contextlib.ExitStack() as stack:
            if wanted.host:
                host, key = wanted.host, os.environ.get("SIGHTLINE_KEY", "")
            else:
                album.drawn(home() / "album", side)  # the first time takes seconds that are not to be the run's
                stands = stack.enter_context(rig.standing("load", real=wanted.real))
                host, key = stands.url, stands.key
                words += ["--about", f"Sightline {__version__} before {stands.engine_name}"]
            process = locust(host, key, words)
            stack.callback(process.terminate)
            with contextlib.suppress(KeyboardInterrupt):  # Locust has had it too, and ends by itself
                process.wait()
            return process.wait()
    except (Invalid, OSError, subprocess.SubprocessError) as error:
        print(f"INVALID: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
