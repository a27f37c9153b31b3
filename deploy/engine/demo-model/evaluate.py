"""How often a served model reads fresh plates right, asked over HTTP as any client asks.

    python evaluate.py --url http://127.0.0.1:8101 --model NAME [--pictures 300] [--copy jpeg]

Each question is put in its first phrasing, at temperature 0. An answer counts only if it is exact, character for character.
"""

import argparse
import base64
import io
import json
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from random import Random

import plates
from PIL import Image


@dataclass(frozen=True, slots=True)
class Figures:
    """Shares of exact answers, in percent, by kind of question; `characters` is the share of right characters in the serials."""

    pictures: int
    exact: dict[str, float]
    characters: float


def as_drawn(picture: Image.Image, _rng: Random) -> bytes:
    return _encoded(picture, "PNG")


def as_jpeg(picture: Image.Image, _rng: Random) -> bytes:
    return _encoded(picture, "JPEG", quality=85)


def as_resampled(picture: Image.Image, rng: Random) -> bytes:
    """Drawn up to 3 times its size and down again, as a plate cut from a photograph is."""
    factor = rng.uniform(1.2, 3.0)
    larger = picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC)
    return _encoded(larger.resize(picture.size, Image.Resampling.BICUBIC), "JPEG", quality=85)


def as_scaled(picture: Image.Image, rng: Random) -> bytes:
    """Sent at 0.9 to 1.1 times its size; the engine's own processor makes what it can of that."""
    factor = rng.uniform(0.9, 1.1)
    return _encoded(picture.resize((round(picture.width * factor), round(picture.height * factor)), Image.Resampling.BICUBIC), "PNG")


COPIES: dict[str, Callable[[Image.Image, Random], bytes]] = {
    "drawn": as_drawn,
    "jpeg": as_jpeg,
    "resampled": as_resampled,
    "scaled": as_scaled,
}


def ask(url: str, model: str, key: str, picture: bytes, question: str) -> str:
    address = "data:image/*;base64," + base64.b64encode(picture).decode()
    parts = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": question}]
    body = {"model": model, "messages": [{"role": "user", "content": parts}], "temperature": 0, "max_tokens": 64}
    request = urllib.request.Request(  # noqa: S310  the address is the operator's own argument
        url.rstrip("/") + "/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310  see above
        text = json.load(reply)["choices"][0]["message"]["content"]
    return str(text).strip()


def evaluate(url: str, model: str, *, key: str = "none", pictures: int = 300, copy: str = "drawn", concurrency: int = 8) -> Figures:
    def asked(seed: int) -> Iterator[tuple[str, str, str]]:
        plate = plates.plate(seed)
        picture = COPIES[copy](plate.picture, Random(seed))
        for kind, right in plates.answers(plate.label).items():
            yield kind, right, ask(url, model, key, picture, plates.QUESTIONS[kind][0])

    with ThreadPoolExecutor(concurrency) as threads:
        answered = list(threads.map(lambda seed: list(asked(seed)), range(plates.FRESH, plates.FRESH + pictures)))
    return tally(answered)


def tally(answered: list[list[tuple[str, str, str]]]) -> Figures:
    """Figures from (kind, right answer, given answer) of each picture."""
    given = [one for picture in answered for one in picture]
    exact = {kind: [right == answer for k, right, answer in given if k == kind] for kind in plates.QUESTIONS}
    characters = [
        wanted == got
        for kind, right, answer in given
        if kind == "serial"
        for wanted, got in zip(right, answer.ljust(len(right))[: len(right)], strict=True)
    ]
    return Figures(len(answered), {kind: _percent(hits) for kind, hits in exact.items()}, _percent(characters))


def _percent(hits: list[bool]) -> float:
    return round(100 * sum(hits) / len(hits), 1)


def _encoded(picture: Image.Image, container: str, **options: int) -> bytes:
    out = io.BytesIO()
    picture.save(out, container, **options)
    return out.getvalue()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", required=True)
    parser.add_argument("--model", required=True)
    parser.add_argument("--key", default="none")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--copy", choices=COPIES, default="drawn", help="how the plates are sent (default: as drawn)")
    parser.add_argument("--concurrency", type=int, default=8)
    arguments = parser.parse_args()
    figures = evaluate(
        arguments.url,
        arguments.model,
        key=arguments.key,
        pictures=arguments.pictures,
        copy=arguments.copy,
        concurrency=arguments.concurrency,
    )
    print(f"{figures.pictures} fresh plates, sent as {arguments.copy}")
    for kind, share in figures.exact.items():
        print(f"{kind:10} {share:5.1f} % exact")
    print(f"{'characters':10} {figures.characters:5.1f} % of the serials' characters")


if __name__ == "__main__":
    main()
