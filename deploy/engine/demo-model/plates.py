"""Nameplates: what is drawn on one, how it is drawn, and the questions about it that the demo model is taught.

Everything is drawn from the random generator that is passed in, so a seed is a plate. The questions stand here and nowhere else:
the trainer, the evaluator and the model's card take them from `QUESTIONS`.

    python plates.py FOLDER     draws the sample plates that the package carries, with their labels.json
"""

import json
import math
import sys
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from random import Random

from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT = 224, 112
CELL = 28  # pixels a side of one visual token: 14-pixel patches, merged two by two
ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZ0123456789"  # no I and no O: a plate that is to be read leaves out what looks like 1 and 0
SERIAL_LENGTH = 6
COLORS = {
    "red": (205, 40, 40),
    "green": (40, 150, 60),
    "blue": (45, 80, 200),
    "yellow": (235, 200, 30),
    "purple": (130, 50, 160),
    "orange": (240, 130, 25),
    "black": (25, 25, 25),
    "cyan": (30, 190, 200),
}
SHAPES = ("circle", "square", "triangle", "star")
QUESTIONS = {
    "serial": ("What is the serial number?", "Read the serial number.", "Serial number?"),
    "color": ("What color is the shape?", "What colour is the shape?"),
    "shape": ("What shape is on the label?", "Which shape do you see?"),
    "scratch": ("Is there a scratch?", "Is the label scratched?"),
    "json": ("Describe the label as JSON.",),
}
FRESH = 700_000_000  # seeds from here on are never trained on: what the model says of them is what it can do
SAMPLES = (15, 19, 14, 13, 27, 20)  # seeds of the plates in the package: every shape, six colours, three scratches

Point = tuple[int, int]
Ink = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Label:
    """What a plate says: six characters, a colour, a shape, and whether a scratch runs over it."""

    serial: str
    color: str
    shape: str
    scratch: bool


@dataclass(frozen=True, slots=True)
class Plate:
    """A drawn plate (RGB, 224 × 112) and where things lie on it, in pixels; `scratch` holds the line's corners, or nothing."""

    label: Label
    picture: Image.Image
    characters: tuple[Point, ...]
    shape: Point
    scratch: tuple[Point, ...]


def imagine(rng: Random) -> Label:
    """A label with every choice equally likely, half of them scratched."""
    return Label(
        serial="".join(rng.choice(ALPHABET) for _ in range(SERIAL_LENGTH)),
        color=rng.choice(list(COLORS)),
        shape=rng.choice(SHAPES),
        scratch=rng.random() < 0.5,
    )


def draw(label: Label, rng: Random) -> Plate:
    """The label on a light plate: serial and shape above or below each other, inks, sizes and places a little different each time.

    Characters stand 28 pixels apart and never far from the middle of a visual token's column. That is what makes a model
    of a million weights able to read them, and why it reads these plates and no others.
    """
    level = rng.randint(205, 245)
    picture = Image.new("RGB", (WIDTH, HEIGHT), _near((level, level, level), 10, rng))
    canvas = ImageDraw.Draw(picture)
    if rng.random() < 0.5:
        canvas.rectangle((2, 2, WIDTH - 3, HEIGHT - 3), outline=(120, 120, 120), width=1)
    serial_above = rng.random() < 0.5
    row = rng.randint(0, 1) if serial_above else rng.randint(2, 3)
    characters = _write(canvas, label.serial, row * CELL + CELL // 2 + rng.randint(-4, 4), rng)
    radius = rng.randint(15, 19)
    top = rng.randint(60, 70) if serial_above else rng.randint(6, 16)
    center = (rng.randint(radius + 4, WIDTH - radius - 4), top + 19)
    _paint(canvas, label.shape, center, radius, _near(COLORS[label.color], 15, rng))
    scratch = _scratch(canvas, rng) if label.scratch else ()
    return Plate(label, picture, characters, center, scratch)


def plate(seed: int) -> Plate:
    """The plate of that seed, always the same."""
    rng = Random(seed)
    return draw(imagine(rng), rng)


def answers(label: Label) -> dict[str, str]:
    """The right answer to each kind of question, character for character."""
    return {
        "serial": label.serial,
        "color": label.color,
        "shape": label.shape,
        "scratch": "Yes" if label.scratch else "No",
        "json": json.dumps(asdict(label)),
    }


def on_canvas(
    plate: Image.Image, rng: Random, *, size: tuple[int, int] = (3000, 2000), scale: float = 1.0
) -> tuple[Image.Image, tuple[int, int, int, int]]:
    """A photograph-like picture with the plate, `scale` times its size, somewhere on it, and the plate's box (left, top, right, bottom).

    The background is a slope of light with the grain of a sensor: it compresses and resamples as a photograph does, and a drawing does not.
    """
    slope = Image.linear_gradient("L").rotate(rng.choice((0, 90, 180, 270))).resize(size).point(lambda light: 70 + light // 3)
    grain = Image.effect_noise((size[0] // 4, size[1] // 4), 24).resize(size)
    light = Image.blend(slope, grain, 0.25)
    tints = [rng.uniform(0.85, 1.1) for _ in range(3)]
    canvas = Image.merge("RGB", [light.point([min(255, round(level * tint)) for level in range(256)]) for tint in tints])
    width, height = round(plate.width * scale), round(plate.height * scale)
    left, top = rng.randint(0, size[0] - width), rng.randint(0, size[1] - height)
    canvas.paste(plate.resize((width, height), Image.Resampling.LANCZOS), (left, top))
    return canvas, (left, top, left + width, top + height)


def _write(canvas: ImageDraw.ImageDraw, serial: str, middle: int, rng: Random) -> tuple[Point, ...]:
    first_column = rng.randint(0, WIDTH // CELL - len(serial))
    left = first_column * CELL + rng.randint(-2, 3)
    ink = (rng.randint(0, 60), rng.randint(0, 60), rng.randint(0, 60))
    font = _font(rng.randint(27, 30))
    places = tuple((left + position * CELL + CELL // 2, middle) for position in range(len(serial)))
    for character, place in zip(serial, places, strict=True):
        canvas.text(place, character, fill=ink, font=font, anchor="mm")
    return places


def _paint(canvas: ImageDraw.ImageDraw, shape: str, center: Point, radius: int, ink: Ink) -> None:
    x, y = center
    box = (x - radius, y - radius, x + radius, y + radius)
    if shape == "circle":
        canvas.ellipse(box, fill=ink)
    elif shape == "square":
        canvas.rectangle(box, fill=ink)
    elif shape == "triangle":
        canvas.polygon([(x, y - radius), (x - radius, y + radius), (x + radius, y + radius)], fill=ink)
    else:
        reaches = [radius if corner % 2 == 0 else radius * 0.42 for corner in range(10)]
        turns = [corner * math.pi / 5 for corner in range(10)]
        canvas.polygon([(x + r * math.sin(turn), y - r * math.cos(turn)) for r, turn in zip(reaches, turns, strict=True)], fill=ink)


def _scratch(canvas: ImageDraw.ImageDraw, rng: Random) -> tuple[Point, ...]:
    x, y = rng.randint(10, WIDTH - 70), rng.randint(10, HEIGHT - 20)
    corners = [(x, y)]
    for _ in range(5):
        x, y = x + rng.randint(8, 13), y + rng.randint(-6, 6)
        corners.append((x, y))
    canvas.line(corners, fill=(rng.randint(90, 150), rng.randint(90, 150), rng.randint(90, 150)), width=2)
    return tuple(corners)


def _near(ink: Ink, spread: int, rng: Random) -> Ink:
    red, green, blue = (max(0, min(255, level + rng.randint(-spread, spread))) for level in ink)
    return red, green, blue


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)  # the face that comes with Pillow, so that nothing need be installed


def main() -> None:
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    samples = {f"plate-{number}.png": plate(seed) for number, seed in enumerate(SAMPLES, 1)}
    for name, sample in samples.items():
        sample.picture.save(folder / name, optimize=True)
    labels = {name: asdict(sample.label) for name, sample in samples.items()}
    (folder / "labels.json").write_text(json.dumps(labels, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
