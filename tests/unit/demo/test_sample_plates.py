"""The plates in the package are those that the generator draws from its sample seeds, and their labels say what is on them."""

from dataclasses import asdict

import plates
import pytest
from PIL import Image, ImageChops, ImageStat

from sightline import demo

SAMPLES = list(zip(demo.plates().items(), plates.SAMPLES, strict=True))


@pytest.mark.parametrize(("sample", "seed"), SAMPLES, ids=[path.name for (path, _), _ in SAMPLES])
def test_a_sample_is_drawn_again_from_its_seed(sample: tuple[object, demo.Label], seed: int) -> None:
    path, label = sample
    drawn = plates.plate(seed)
    with Image.open(str(path)) as picture:
        difference = ImageStat.Stat(ImageChops.difference(picture.convert("RGB"), drawn.picture)).mean

    assert asdict(label) == asdict(drawn.label)
    assert max(difference) < 2  # of 255: another FreeType may round the edge of a letter differently


def test_the_samples_show_every_shape_and_both_verdicts() -> None:
    labels = list(demo.plates().values())

    assert {label.shape for label in labels} == set(plates.SHAPES)
    assert {label.scratch for label in labels} == {True, False}
    assert len({label.color for label in labels}) == 6
