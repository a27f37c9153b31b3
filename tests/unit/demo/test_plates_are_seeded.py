"""A seed is a plate: drawn twice it is the same to the last pixel, whatever else draws random numbers meanwhile."""

import random

import plates
import pytest


@pytest.mark.parametrize("seed", [0, 1, plates.FRESH])
def test_the_same_seed_draws_the_same_plate(seed: int) -> None:
    first = plates.plate(seed)
    random.seed(4)  # the module's own generator is no part of it
    again = plates.plate(seed)

    assert first.label == again.label
    assert first.picture.tobytes() == again.picture.tobytes()
    assert (first.characters, first.shape, first.scratch) == (again.characters, again.shape, again.scratch)


def test_other_seeds_draw_other_plates() -> None:
    assert len({plates.plate(seed).picture.tobytes() for seed in range(50)}) == 50


def test_every_color_shape_and_verdict_is_drawn() -> None:
    labels = [plates.plate(seed).label for seed in range(300)]

    assert {label.color for label in labels} == set(plates.COLORS)
    assert {label.shape for label in labels} == set(plates.SHAPES)
    assert {character for label in labels for character in label.serial} == set(plates.ALPHABET)
    assert 120 < sum(label.scratch for label in labels) < 180
