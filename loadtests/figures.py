"""Takes what `sightline plan` reckons with out of the results of the load runs.

    python loadtests/figures.py        after a new `make bench`, `store/footprint.py` or `pictures/bench.py`

Writes `server/sightline/capacity/figures.json`; then `python -m tests.contract.test_capacity` writes the examples of `deploy/capacity.md`
anew. A test holds both to the results.
"""

import json
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "loadtests/results"
TARGET = ROOT / "server/sightline/capacity/figures.json"
PICTURES = {"i100k": 100, "i1m": 1000}  # the bench's pictures, in kilobytes
TOKENS = 64  # of the bench's stream
PIXELS = 132_000_000  # `images.pixels_in_flight`: what is decoded at once
PREPARED = "loadtests/results/pictures.json"


def figures() -> dict[str, dict[str, Any]]:
    bench, redis, pictures = (json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8")) for name in ("bench", "redis", "pictures"))
    cells = {cell: gateways["sightline"]["cpu"] for cell, gateways in bench["medians"].items()}
    machine = bench["machine"]
    where = f"loadtests/results/bench.json ({machine['cpu']}, commit {machine['commit']})"
    asked = f"loadtests/results/redis.json (Redis {redis['machine']['redis']}, commit {redis['machine']['commit']})"

    def one(value: float, unit: str, source: str) -> dict[str, Any]:
        return {"points": [(0, value)], "unit": unit, "source": source}

    def cpu(kind: str, without: str) -> dict[str, Any]:
        points = [(0, cells[without]), *((size, cells[f"{kind}.{name}"]) for name, size in PICTURES.items())]
        return {"points": points, "unit": "µs of CPU a request", "source": f"{where}: {without}, {kind}.i100k, {kind}.i1m"}

    def commands(kind: str) -> dict[str, Any]:
        return one(redis["commands"]["several"][kind], "Redis commands a request", f"{asked}: commands, several gateways, {kind}")

    texts = sorted((int(size), taken) for size, taken in redis["bytes"]["answer"].items())
    (small, least), (large, most) = texts[0], texts[-1]
    slope = (most - least) / (large - small)
    streamed = round((cells["sse.text"] - cells["miss.text"]) / TOKENS, 1)
    prepared = max(int(picture["prepared"].split(", ")[1].split()[0]) for picture in pictures["tokens as sent, as prepared"])
    decoding = max(float(said.split()[1]) for said in pictures["16 × 33 Mpx within 2 GB (count, peak MB)"].values()) * 2**20
    return {
        "cpu.hit": cpu("hit", "hit.text"),
        "cpu.miss": cpu("miss", "miss.text"),
        "cpu.unseen": cpu("unseen", "miss.text"),
        "cpu.token": one(streamed, "µs of CPU a streamed token", f"{where}: sse.text less miss.text"),
        "redis.answer": {
            "points": [(0, round(least - small * slope)), (1, round(least + (1000 - small) * slope))],
            "unit": "bytes of Redis an answer, by kilobytes of its text",
            "source": f"{asked}: bytes, answer",
        },
        "redis.identity": one(redis["bytes"]["identity"], "bytes of Redis a known picture", f"{asked}: bytes, identity"),
        "redis.hit": commands("hit"),
        "redis.miss": commands("miss"),
        "redis.unseen": commands("unseen"),
        "redis.script": one(round(redis["commands"]["several"]["script_us"]), "µs of Redis a command", f"{asked}: script_us"),
        "picture.prepared": one(prepared, "kilobytes of a prepared picture, at most", f"{PREPARED}: the largest as prepared"),
        "memory.pixel": one(round(decoding / PIXELS, 1), "bytes a pixel that is being decoded", f"{PREPARED}: 16 × 33 Mpx, WebP"),
        "memory.base": one(91, "MB of a gateway at rest", "`sightline up --ask`, as the README shows it"),
    }


def written() -> str:
    """One figure a line."""
    lines = [f" {json.dumps(name)}: {json.dumps(given, ensure_ascii=False)}" for name, given in figures().items()]
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    TARGET.write_text(written(), encoding="utf-8")
    print(TARGET)
