"""What preparing pictures costs in right answers: fresh plates read by the demo model, directly and through Sightline, in several copies.

    python loadtests/pictures/accuracy.py --engine http://127.0.0.1:8101 [--key K] [--pictures 300] [--json FILE]

The engine is one that `sightline engine run` has started; the gateway in front of it is started here, without the result cache. The demo
model reads a plate at about 224 × 112 pixels and no other, so a plate on a photograph is put there as large as makes it so after the
policy has scaled the photograph down, and is cut out of the prepared picture; beside it the same plate cut out of the photograph as taken.
"""

import argparse
import base64
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import httpx
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2]))
sys.path.insert(0, str(Path(__file__).parents[2] / "deploy/engine/demo-model"))
import evaluate
import plates
from loadtests.pictures import samples
from tests.serving import GatewayProcess, environment, ready

from sightline.pictures import headers, imaging, policy, tokens
from sightline.settings import Images

SETTINGS = Images()
PHOTOGRAPH = (3000, 2000)
SCALE = PHOTOGRAPH[0] / SETTINGS.longest_side  # as large as makes the plate 224 × 112 after preparation
CONCURRENCY = 8

Copy = Callable[[Image.Image, Random], bytes]


def prepare(data: bytes) -> imaging.Picture:
    return imaging.prepare(data, headers.read(data, SETTINGS), policy.choose(SETTINGS, None))


def photograph(picture: Image.Image, rng: Random) -> tuple[bytes, tuple[int, int, int, int]]:
    """The plate on a photograph, as a phone keeps it, and where."""
    canvas, box = plates.on_canvas(picture, rng, size=PHOTOGRAPH, scale=SCALE)
    return samples.encode(canvas, "JPEG", quality=92), box


def cut(data: bytes, box: tuple[int, int, int, int], size: tuple[int, int]) -> bytes:
    """What lies in `box` of the photograph, brought to a plate's size; `data` may be a smaller copy of it."""
    image = Image.open(io.BytesIO(data)).convert("RGB")
    ratio = image.width / PHOTOGRAPH[0]
    left, top, right, bottom = (side * ratio for side in box)
    return samples.encode(image.resize(size, Image.Resampling.BICUBIC, box=(left, top, right, bottom), reducing_gap=None), "PNG")


def cut_as_taken(picture: Image.Image, rng: Random) -> bytes:
    data, box = photograph(picture, rng)
    return cut(data, box, picture.size)


def cut_as_prepared(picture: Image.Image, rng: Random) -> bytes:
    data, box = photograph(picture, rng)
    return cut(prepare(data).encoded, box, picture.size)


COPIES: dict[str, Copy] = {
    "as drawn": evaluate.as_drawn,
    "JPEG q85": evaluate.as_jpeg,
    "cut out of a 3000×2000 photograph as taken": cut_as_taken,
    "cut out of the same after preparation": cut_as_prepared,
}


def read(url: str, model: str, key: str, copy: Copy, count: int) -> dict[str, Any]:
    def asked(seed: int) -> Iterator[tuple[str, str, str]]:
        plate = plates.plate(seed)
        picture = copy(plate.picture, Random(seed))
        for kind, right in plates.answers(plate.label).items():
            yield kind, right, evaluate.ask(url, model, key, picture, plates.QUESTIONS[kind][0])

    with ThreadPoolExecutor(CONCURRENCY) as threads:
        figures = evaluate.tally(list(threads.map(lambda seed: list(asked(seed)), range(plates.FRESH, plates.FRESH + count))))
    return asdict(figures)


def one_photograph(engine: str, gateway: str, model: str, key: str) -> dict[str, Any]:
    """A phone's photograph on its way: bytes, pixels, tokens before and after, and times."""
    data = samples.encode(samples.photo(4000, 3000), "JPEG", quality=88)
    began = time.perf_counter()
    picture = prepare(data)
    row: dict[str, Any] = {
        "sent": f"{picture.original_width}×{picture.original_height}, {len(data)} bytes",
        "prepared": f"{picture.width}×{picture.height}, {len(picture.encoded)} bytes, {picture.media_type}",
        "preparing_ms": round((time.perf_counter() - began) * 1e3, 1),
    }
    for family in (tokens.QWEN25_VL, tokens.QWEN3_VL, tokens.GLM_46V, tokens.DEMO):
        sizes = (picture.original_width, picture.original_height), (picture.width, picture.height)
        row[f"tokens {family.name}"] = " → ".join(str(tokens.image_tokens(family, *size)) for size in sizes)
    with httpx.Client(timeout=120, headers={"authorization": f"Bearer {key}"}, trust_env=False) as client:
        for name, url, text in (
            ("direct", engine, "What color is the shape?"),
            ("through, first", gateway, "What color is the shape?"),
            ("through, another question", gateway, "What shape is on the label?"),
            ("through, first question again", gateway, "What color is the shape?"),
        ):
            address = "data:image/jpeg;base64," + base64.b64encode(data).decode()
            content = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": text}]
            body = {"model": model, "messages": [{"role": "user", "content": content}], "temperature": 0, "max_tokens": 16}
            began = time.perf_counter()
            answer = client.post(f"{url}/v1/chat/completions", json=body)
            took = (time.perf_counter() - began) * 1e3
            counted = answer.json()["usage"]["prompt_tokens"] if answer.status_code == 200 else answer.text[:200]
            row[name] = f"{answer.status_code} {answer.headers.get('x-cache', '')} {took:.0f} ms, prompt tokens by vLLM: {counted}"
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--engine", required=True)
    parser.add_argument("--key", default="none")
    parser.add_argument("--model", default="sightline-demo")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--json", type=Path)
    chosen = parser.parse_args()
    results: dict[str, Any] = {}
    with GatewayProcess(chosen.engine, environ=environment(engine_key=chosen.key)) as gateway:
        results["one photograph"] = one_photograph(chosen.engine, ready(gateway).url, chosen.model, chosen.key)
    for name, value in results["one photograph"].items():
        print(f"{name:32} {value}")
    kinds = list(plates.QUESTIONS)
    print(f"\nexact answers in percent, {chosen.pictures} fresh plates\n{'':62}", *(f"{kind:>8}" for kind in [*kinds, "chars"]))
    with GatewayProcess(chosen.engine, environ=environment(engine_key=chosen.key, cache__enabled="false")) as gateway:
        ways = {"directly": chosen.engine, "through Sightline": ready(gateway).url}
        rounds = [(copy, way, chosen.pictures) for copy in list(COPIES)[:2] for way in ways]
        rounds += [(copy, "through Sightline", chosen.pictures) for copy in list(COPIES)[2:]]
        for name, way, count in rounds:
            figures = results[f"{name}, {way}"] = read(ways[way], chosen.model, chosen.key, COPIES[name], count)
            shares = [*(figures["exact"][kind] for kind in kinds), figures["characters"]]
            print(f"{name + ', ' + way:62}", *(f"{share:8.1f}" for share in shares), flush=True)
    if chosen.json:
        chosen.json.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
