"""A plate on a canvas is where the box says, at the size that was asked for, on a background that has the grain of a photograph."""

from random import Random

import plates
import pytest
from PIL import Image, ImageChops, ImageStat

PLATE = plates.plate(plates.SAMPLES[0]).picture


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_the_plate_is_in_the_box(scale: float) -> None:
    canvas, box = plates.on_canvas(PLATE, Random(1), scale=scale)
    cut = canvas.crop(box)

    assert canvas.size == (3000, 2000)
    assert cut.size == (round(plates.WIDTH * scale), round(plates.HEIGHT * scale))
    difference = ImageChops.difference(cut.resize(PLATE.size, Image.Resampling.BOX), PLATE)
    assert max(ImageStat.Stat(difference).mean) < 3


def test_the_same_seed_finds_the_same_place() -> None:
    places = [plates.on_canvas(PLATE, Random(seed), size=(800, 600))[1] for seed in (1, 1, 2)]

    assert places[0] == places[1] != places[2]


def test_the_background_is_no_flat_colour() -> None:
    canvas, _ = plates.on_canvas(PLATE, Random(3), size=(800, 600))

    assert min(ImageStat.Stat(canvas.crop((0, 0, 200, 100))).stddev) > 1
