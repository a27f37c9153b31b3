"""How good a served model is at an inspection task, asked over HTTP as any client asks: before and after a recipe.

    python score.py held-out.jsonl --url http://127.0.0.1:8080 --model inspection [--key KEY] [--limit 300]

Of verdicts: how many are verdicts at all, how many defects are missed and how many sound parts are taken for defective (over-kill), and
how well the boxes lie (intersection over union, of the defects that were found). Of texts: how many are exact. Temperature 0.
"""

import argparse
import base64
import json
import sys
import urllib.request
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from inspection import Example, Verdict, WrongExample, load, overlap

MEDIA = {".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}


@dataclass(frozen=True, slots=True)
class Score:
    """Shares in percent; None where there was nothing to count."""

    verdicts: int
    valid: float | None
    right: float | None  # defect or none, of all
    missed: float | None  # of the defects
    over_kill: float | None  # of the sound
    box_overlap: float | None  # mean, of the defects that were found
    texts: int
    exact: float | None


def ask(url: str, model: str, key: str, example: Example) -> str:
    address = (
        f"data:image/{MEDIA.get(example.picture.suffix.lower(), 'png')};base64,{base64.b64encode(example.picture.read_bytes()).decode()}"
    )
    parts = [{"type": "image_url", "image_url": {"url": address}}, {"type": "text", "text": example.question}]
    body = {"model": model, "messages": [{"role": "user", "content": parts}], "temperature": 0, "max_tokens": 256}
    request = urllib.request.Request(  # noqa: S310  the address is the operator's own argument
        url.rstrip("/") + "/v1/chat/completions",
        data=json.dumps(body).encode(),
        headers={"content-type": "application/json", "authorization": f"Bearer {key}"},
    )
    with urllib.request.urlopen(request, timeout=120) as reply:  # noqa: S310  see above
        return str(json.load(reply)["choices"][0]["message"]["content"]).strip()


def tally(answered: Iterable[tuple[Example, str]]) -> Score:
    """The figures of (example, what the model said)."""
    wanted: list[Verdict] = []
    given: list[Verdict | None] = []
    exact: list[bool] = []
    for example, said in answered:
        if isinstance(example.answer, str):
            exact.append(example.answer == said)
        else:
            wanted.append(example.answer)
            given.append(_verdict(said))
    pairs = list(zip(wanted, given, strict=True))
    found = [(want, got) for want, got in pairs if got is not None and want.defect_detected and got.defect_detected]
    return Score(
        verdicts=len(pairs),
        valid=_percent([got is not None for got in given]),
        right=_percent([got is not None and got.defect_detected == want.defect_detected for want, got in pairs]),
        missed=_percent([got is None or not got.defect_detected for want, got in pairs if want.defect_detected]),
        over_kill=_percent([got is not None and got.defect_detected for want, got in pairs if not want.defect_detected]),
        box_overlap=_percent([overlap(want.box, got.box) for want, got in found]),
        texts=len(exact),
        exact=_percent(exact),
    )


def _verdict(said: str) -> Verdict | None:
    try:
        return Verdict.read(said)
    except ValueError:
        return None


def _percent(shares: list[bool] | list[float]) -> float | None:
    return round(100 * sum(shares) / len(shares), 1) if shares else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", type=Path, help="JSONL, as inspection.py describes it")
    parser.add_argument("--url", required=True, help="of the gateway")
    parser.add_argument("--model", required=True, help="a model or an adapter, as /v1/models names it")
    parser.add_argument("--key", default="none")
    parser.add_argument("--limit", type=int, default=0, help="ask about the first N examples only")
    parser.add_argument("--concurrency", type=int, default=8)
    arguments = parser.parse_args()
    try:
        examples = load(arguments.examples)[: arguments.limit or None]
        with ThreadPoolExecutor(arguments.concurrency) as threads:
            said = list(threads.map(lambda one: ask(arguments.url, arguments.model, arguments.key, one), examples))
    except (WrongExample, OSError) as error:  # of the file, or of the gateway: urllib's errors are OSErrors
        print(f"score: {error}", file=sys.stderr)
        sys.exit(2)
    print(json.dumps({"model": arguments.model, **asdict(tally(zip(examples, said, strict=True)))}, indent=1))


if __name__ == "__main__":
    main()
