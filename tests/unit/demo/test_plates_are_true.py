"""A plate shows what its label says, where it says: the shape's ink at its middle, dark strokes at each character, a scratch or none."""

import plates
import pytest
from PIL import Image

SEEDS = range(12)


def darkest(picture: Image.Image, x: int, y: int, reach: int) -> int:
    return min(picture.convert("L").crop((x - reach, y - reach, x + reach, y + reach)).tobytes())


@pytest.mark.parametrize("seed", SEEDS)
def test_each_character_stands_where_the_plate_says(seed: int) -> None:
    plate = plates.plate(seed)

    assert len(plate.characters) == len(plate.label.serial) == plates.SERIAL_LENGTH
    assert all(darkest(plate.picture, x, y, 8) < 100 for x, y in plate.characters)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_shape_has_the_label_s_color(seed: int) -> None:
    plate = plates.plate(seed)
    x, y = plate.shape
    # A scratch may run over the middle, so the commonest ink around it counts.
    colors = plate.picture.crop((x - 5, y - 5, x + 6, y + 6)).getcolors()
    assert colors is not None
    _, ink = max(colors, key=lambda counted: counted[0])
    assert isinstance(ink, tuple)

    distance = {name: sum(abs(a - b) for a, b in zip(ink, color, strict=True)) for name, color in plates.COLORS.items()}
    assert min(distance, key=distance.__getitem__) == plate.label.color


@pytest.mark.parametrize("seed", SEEDS)
def test_a_scratch_has_corners_exactly_if_the_label_has_one(seed: int) -> None:
    plate = plates.plate(seed)

    assert bool(plate.scratch) == plate.label.scratch
