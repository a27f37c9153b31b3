"""What masking finds, what it takes for something it is not, and what hostile text costs it. Writes results/masking.{json,txt}.

    python loadtests/limits/masking.py

Found: 1 000 made-up items of each form, in sentences, streamed in random pieces; one counts when it is masked whole and nothing else is.
Taken wrongly: of 1 000 things of each kind that only look alike. Cost: CPU ms for 100 KB, whole and streamed in pieces of 20 characters,
the best of five; in the JSON, beside what decoding the same text costs, so that machines can be compared.
"""

import json
import random
import statistics
import sys
import time
import timeit
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from loadtests.bench import report
from tests.personal import ALL, AROUND, FORMS, HOSTILE, OTHERS, in_pieces

from sightline.limits.masking import Masker

RESULTS = Path(__file__).resolve().parents[1] / "results"
MANY, SIZE = 1000, 100_000
PLAIN = "The plate reads SL-2931, the label below is scratched; 3 of 12 screws are missing. 外观良好，右下角有划痕。"


def found(form: str) -> tuple[int, int]:
    """Of a thousand, how many are masked right; and characters held back at most."""
    kind, make = FORMS[form]
    masker, chance = Masker(ALL), random.Random(f"figures {form}")
    right = most = 0
    for _ in range(MANY):
        before, after = chance.choice(AROUND)
        told, held = in_pieces(chance, masker, before + make(chance) + after)
        right += told == f"{before}[{kind}]{after}"
        most = max(most, held)
    return right, most


def taken(name: str) -> int:
    make, _ = OTHERS[name]
    masker, chance = Masker(ALL), random.Random(f"figures {name}")
    texts = [f"编号 {make(chance)} 已登记" for _ in range(MANY)]
    return sum(masker.mask(text) != text for text in texts)


def milliseconds(work: Callable[[], object]) -> float:
    return round(min(timeit.repeat(work, timer=time.process_time, repeat=5, number=1)) * 1e3, 2)


def costs(piece: str) -> dict[str, float]:
    text = piece * (SIZE // len(piece.encode()))
    masker, data = Masker(ALL), json.dumps(text)

    def streamed() -> None:
        stream = masker.stream()
        for at in range(0, len(text), 20):
            stream.feed(text[at : at + 20])
        stream.finish()

    return {
        "whole_ms": milliseconds(lambda: masker.mask(text)),
        "streamed_ms": milliseconds(streamed),
        "json_ms": milliseconds(lambda: json.loads(data)),
    }


def main() -> int:
    masked = {form: dict(zip(("found", "held"), found(form), strict=True)) for form in FORMS}
    wrong = {name: taken(name) for name in OTHERS}
    cost = {piece: costs(piece) for piece in [PLAIN, *HOSTILE]}
    told = {"machine": report.machine(), "of_a_thousand": masked, "taken_wrongly": wrong, "per_100_kb": cost}
    lines = [f"{'form':<38}{'found of 1 000':>16}{'held back at most':>20}"]
    lines += [f"{form:<38}{one['found']:>16}{one['held']:>20}" for form, one in masked.items()]
    lines += ["", f"{'what only looks like it':<38}{'masked of 1 000':>16}"]
    lines += [f"{name:<38}{count:>16}" for name, count in wrong.items()]
    lines += ["", f"{'100 KB of':<38}{'whole, ms':>16}{'streamed, ms':>16}"]
    lines += [f"{piece[:36]!r:<38}{one['whole_ms']:>16}{one['streamed_ms']:>16}" for piece, one in cost.items()]
    middle = statistics.median(one["whole_ms"] for one in cost.values())
    lines += ["", f"whole: worst {max(one['whole_ms'] for one in cost.values())} ms, median {middle} ms"]
    text = "\n".join(lines) + "\n"
    (RESULTS / "masking.json").write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (RESULTS / "masking.txt").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
