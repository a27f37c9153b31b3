"""What nginx adds to the first token: new questions, streamed, by turns straight to the gateway and through nginx with deploy's files.

    python loadtests/deploy/nginx.py [--rounds 150] [--name nginx]

A mock engine that begins after 20 ms, a gateway with all features on, alone on its core; nginx and the client share the other. One kept
connection each; texts, and questions about known pictures of 100 kB and 1 MB. Exit status 2: the run says nothing.
"""

import argparse
import contextlib
import http.client
import json
import secrets
import statistics
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from loadtests import rig
from loadtests.bench import bodies, report
from loadtests.bench.programs import HARNESS, Command, Invalid, Program, free_port, wait_ready

ROOT = Path(__file__).resolve().parents[2]
KINDS = {"text": "text", "100 kB picture": "i100k", "1 MB picture": "i1m"}  # and their bodies
WARM = 10  # questions of each kind before the clock counts


class Client:
    """One kept connection. `ask` gives the seconds from the request's first byte to the first byte of the answer's body."""

    def __init__(self, port: int, headers: Mapping[str, str]) -> None:
        self._wire = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        self._headers = {"Content-Type": "application/json", **headers}

    def ask(self, body: bytes) -> float:
        began = time.perf_counter()
        self._wire.request("POST", "/v1/chat/completions", body, self._headers)
        answer = self._wire.getresponse()
        first = answer.read(1)
        took = time.perf_counter() - began
        rest = answer.read()
        if answer.status != 200 or not (first + rest).endswith(b"data: [DONE]\n\n"):
            raise Invalid(f"status {answer.status}: {(first + rest)[:300].decode(errors='replace')}")
        return took


@contextlib.contextmanager
def proxy(standing: rig.Rig) -> Iterator[int]:
    """The port of an nginx with the files of deploy/nginx, as a container has them."""
    folder, port = standing.kit.folder("nginx"), free_port()
    (folder / "sightline").mkdir(exist_ok=True)
    for name in ("nginx.conf", "gateway.conf"):
        (folder / name).write_bytes((ROOT / "deploy/nginx" / name).read_bytes())
    upstream = (
        (ROOT / "deploy/nginx/upstream/host.conf").read_text(encoding="utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{standing.port}")
    )
    (folder / "sightline/upstream.conf").write_text(upstream, encoding="utf-8")
    listen = f"listen 127.0.0.1:{port};\naccess_log {folder}/access.log sightline;\n"
    (folder / "sightline/listen.conf").write_text(listen, encoding="utf-8")
    command = ["/usr/sbin/nginx", "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", "user root;"]
    with Program("nginx", Command(command), HARNESS, folder / "log") as program:
        wait_ready(program, port, "/health/ready")
        program.pin()
        yield port


def measured(standing: rig.Rig, port: int, rounds: int) -> dict[str, Any]:
    """By kind of question: the medians and 95th percentiles of both ways, in milliseconds, and what lies between them, pair by pair."""
    ways = {"direct": Client(standing.port, standing.headers), "nginx": Client(port, standing.headers)}
    found = {}
    for kind, workload in KINDS.items():
        template = standing.kit.bodies(workload)[0].read_bytes().removesuffix(b"}") + b', "stream": true}'
        taken: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(WARM + rounds):
            for name in sorted(ways, reverse=bool(number % 2)):  # each goes first by turns
                took = ways[name].ask(template.replace(bodies.MARK, secrets.token_hex(8).encode()))
                if number >= WARM:
                    taken[name].append(took * 1000)
        added = [through - direct for direct, through in zip(taken["direct"], taken["nginx"], strict=True)]
        found[kind] = {
            "direct_ms": _spread(taken["direct"]),
            "nginx_ms": _spread(taken["nginx"]),
            "added_ms": _spread(added),
            "ratio": round(statistics.median(taken["nginx"]) / statistics.median(taken["direct"]), 3),
        }
    return found


def _spread(values: list[float]) -> dict[str, float]:
    return {"p50": round(statistics.median(values), 2), "p95": round(statistics.quantiles(values, n=20)[-1], 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=150, help="questions of each kind, each way")
    parser.add_argument("--name", default="nginx", help="of the file in loadtests/results")
    options = parser.parse_args()
    try:
        with rig.standing("deploy-nginx", interval_us=200) as standing, proxy(standing) as port:
            found = {"machine": report.machine(), "engine": standing.engine_name, "rounds": options.rounds}
            found |= {"first token": measured(standing, port, options.rounds)}
    except Invalid as error:
        print(f"invalid: {error}", file=sys.stderr)
        return 2
    file = ROOT / f"loadtests/results/{options.name}.json"
    file.write_text(json.dumps(found, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    for kind, figures in found["first token"].items():
        both = f"{figures['direct_ms']['p50']:.1f} ms direct, {figures['nginx_ms']['p50']:.1f} ms through nginx"
        print(f"{kind:<15} {both}: ×{figures['ratio']:.2f}, {figures['added_ms']['p50']:+.2f} ms (p95 {figures['added_ms']['p95']:+.2f})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
