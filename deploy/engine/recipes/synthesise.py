"""Draws nameplates with and without defects, and says of each what an inspector should: examples to try the recipes with.

    python synthesise.py FOLDER [--pictures 2000] [--seed 0]

Writes FOLDER/pictures/*.png, FOLDER/train.jsonl and, from every tenth picture, FOLDER/held-out.jsonl. Half of the plates are sound. The
others have one defect: a scratch, a stain, a chipped corner, or print that has come off. Of each plate there are two examples: a verdict
(`inspection.QUESTION`), and the demo model's own question about a scratch. The same seed draws the same plates.

This is a stand-in for your own pictures: enough to see that a recipe works, nothing that a real line could use.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

from inspection import QUESTION, Box, Example, Verdict, dump
from PIL import Image, ImageDraw, ImageFilter

sys.path.append(str(Path(__file__).parents[1] / "demo-model"))
import plates

HELD_OUT = 10  # every tenth picture is kept back
SCRATCH = "Is there a scratch?"
SOUND = Verdict(defect_detected=False, description="no defect", box=None, confidence=0.95)


@dataclass(frozen=True, slots=True)
class Defect:
    """What was drawn: its name, its box, and from 0 to 1 how well it can be seen."""

    name: str
    box: Box
    clarity: float


Draw = Callable[[plates.Plate, Random], tuple[Image.Image, Defect]]


def scratched(plate: plates.Plate, _rng: Random) -> tuple[Image.Image, Defect]:
    """The demo's own scratch, which `plates` has drawn."""
    xs, ys = [x for x, _ in plate.scratch], [y for _, y in plate.scratch]
    return plate.picture, Defect("a scratch", _within((min(xs) - 1, min(ys) - 1, max(xs) + 2, max(ys) + 2)), 1.0)


def stained(plate: plates.Plate, rng: Random) -> tuple[Image.Image, Defect]:
    """A brown film with soft edges."""
    width, height, depth = rng.randint(24, 60), rng.randint(16, 36), rng.uniform(0.35, 0.8)
    left, top = rng.randint(0, plates.WIDTH - width), rng.randint(0, plates.HEIGHT - height)
    film = Image.new("L", plate.picture.size)
    ImageDraw.Draw(film).ellipse((left, top, left + width, top + height), fill=round(255 * depth))
    brown = Image.new("RGB", plate.picture.size, (120, 80, 40))
    picture = Image.composite(brown, plate.picture, film.filter(ImageFilter.GaussianBlur(2)))
    return picture, Defect("a stain", _within((left - 2, top - 2, left + width + 3, top + height + 3)), depth)


def chipped(plate: plates.Plate, rng: Random) -> tuple[Image.Image, Defect]:
    """A corner that is broken off: the dark behind the plate shows."""
    picture, (across, down) = plate.picture.copy(), (rng.randint(14, 34), rng.randint(14, 34))
    x, y = rng.choice((0, plates.WIDTH)), rng.choice((0, plates.HEIGHT))
    inwards = (across if x == 0 else -across, down if y == 0 else -down)
    ImageDraw.Draw(picture).polygon([(x, y), (x + inwards[0], y), (x, y + inwards[1])], fill=(20, 20, 20))
    box = (min(x, x + inwards[0]), min(y, y + inwards[1]), max(x, x + inwards[0]), max(y, y + inwards[1]))
    return picture, Defect("a chipped corner", _within(box), 1.0)


def rubbed(plate: plates.Plate, rng: Random) -> tuple[Image.Image, Defect]:
    """Print of one character that has come off: more or less of the plate's own light over it."""
    x, y = rng.choice(plate.characters)
    reach, share = plates.CELL // 2 - 1, rng.uniform(0.7, 1.0)
    box = _within((x - reach, y - reach, x + reach, y + reach))
    bare = Image.new("RGB", (box[2] - box[0], box[3] - box[1]), _light(plate.picture))
    picture = plate.picture.copy()
    picture.paste(Image.blend(picture.crop(box), bare, share), box[:2])
    return picture, Defect("missing print", box, share)


DEFECTS: tuple[Draw, ...] = (scratched, stained, chipped, rubbed)


def inspected(seed: int) -> tuple[Image.Image, Verdict, bool]:
    """The plate of that seed, its verdict, and whether it is scratched."""
    rng = Random(seed)
    draw = rng.choice(DEFECTS) if rng.random() < 0.5 else None
    plate = plates.draw(replace(plates.imagine(rng), scratch=draw is scratched), rng)
    if draw is None:
        return plate.picture, SOUND, False
    picture, defect = draw(plate, rng)
    # What can hardly be seen is not to be claimed as if it could: 0.6 at the faintest, 0.95 at the clearest.
    return (
        picture,
        Verdict(True, f"{defect.name} {_where(defect.box)}", defect.box, round(0.6 + 0.35 * defect.clarity, 2)),
        draw is scratched,
    )


def write(folder: Path, pictures: int, seed: int) -> tuple[int, int]:
    """Draws them all; how many examples went to `train.jsonl` and to `held-out.jsonl`."""
    (folder / "pictures").mkdir(parents=True, exist_ok=True)
    kept: tuple[list[Example], list[Example]] = [], []
    for number in range(pictures):
        picture, verdict, is_scratched = inspected(seed * 1_000_003 + number)
        file = folder / "pictures" / f"{number:06d}.png"
        picture.save(file)
        examples = [Example(file, QUESTION, verdict), Example(file, SCRATCH, "Yes" if is_scratched else "No")]
        kept[number % HELD_OUT == HELD_OUT - 1].extend(examples)
    for name, examples in zip(("train", "held-out"), kept, strict=True):
        dump(examples, folder / f"{name}.jsonl")
    return len(kept[0]), len(kept[1])


def _where(box: Box) -> str:
    down = "top" if box[1] + box[3] < plates.HEIGHT else "bottom"
    across = "left" if box[0] + box[2] < plates.WIDTH else "right"
    return f"at the {down} {across}"


def _light(picture: Image.Image) -> tuple[int, ...]:
    """The plate's own colour: the one that most of its pixels have."""
    counted = picture.getcolors(picture.width * picture.height) or []
    return max(counted)[1]  # type: ignore[return-value]  # of an RGB picture


def _within(box: Box) -> Box:
    return max(0, box[0]), max(0, box[1]), min(plates.WIDTH, box[2]), min(plates.HEIGHT, box[3])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.pictures < HELD_OUT:
        parser.error(f"--pictures: at least {HELD_OUT}, so that one is held out")
    train, held_out = write(arguments.folder, arguments.pictures, arguments.seed)
    print(f"{arguments.folder}: {train} examples to learn from, {held_out} to measure with")


if __name__ == "__main__":
    main()
