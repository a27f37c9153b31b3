"""Synthetic defects: every changed pixel lies in the box that the verdict gives, a seed is a plate, and what is held out is not taught."""

from collections import Counter
from pathlib import Path
from random import Random

import plates
import pytest
import synthesise
from inspection import Example, Verdict, load, overlap
from PIL import ImageChops


@pytest.mark.parametrize("draw", [one for one in synthesise.DEFECTS if one is not synthesise.scratched], ids=lambda one: one.__name__)
def test_all_that_was_drawn_lies_in_the_box(draw: synthesise.Draw) -> None:
    """But for a pixel of soft edge; and the box is not much larger than it need be."""
    for seed in range(40):
        plate = plates.draw(plates.imagine(Random(seed)), Random(seed))

        picture, defect = draw(plate, Random(seed))

        changed = ImageChops.difference(picture, plate.picture).convert("L").point([255 if level > 8 else 0 for level in range(256)])
        drawn = changed.getbbox()
        assert drawn is not None
        assert drawn[0] >= defect.box[0] - 1
        assert drawn[1] >= defect.box[1] - 1
        assert drawn[2] <= defect.box[2] + 1
        assert drawn[3] <= defect.box[3] + 1
        assert overlap(drawn, defect.box) > 0.15  # a rubbed 1 is narrow


def test_a_scratch_lies_in_its_box() -> None:
    for seed in range(40):
        plate = plates.draw(plates.Label("ABC123", "red", "star", scratch=True), Random(seed))

        _, defect = synthesise.scratched(plate, Random(0))

        assert all(defect.box[0] <= x < defect.box[2] and defect.box[1] <= y < defect.box[3] for x, y in plate.scratch)


def test_a_seed_is_a_plate() -> None:
    one, other = synthesise.inspected(7), synthesise.inspected(7)

    assert one[0].tobytes() == other[0].tobytes()
    assert one[1:] == other[1:]


def test_half_are_sound_and_the_rest_has_each_defect_alike() -> None:
    verdicts = [synthesise.inspected(seed)[1] for seed in range(400)]

    names = Counter(verdict.description.partition(" at ")[0] for verdict in verdicts)
    assert 160 < names.pop("no defect") < 240
    assert set(names) == {"a scratch", "a stain", "a chipped corner", "missing print"}
    assert all(25 < count < 80 for count in names.values())
    assert all((verdict.box is None) != verdict.defect_detected and 0.6 <= verdict.confidence <= 0.95 for verdict in verdicts)


def test_what_is_held_out_is_not_taught(tmp_path: Path) -> None:
    assert synthesise.write(tmp_path, pictures=40, seed=1) == (72, 8)

    train, held_out = load(tmp_path / "train.jsonl"), load(tmp_path / "held-out.jsonl")
    assert {one.picture for one in train}.isdisjoint(one.picture for one in held_out)
    assert [(len(part), len(_verdicts(part))) for part in (train, held_out)] == [(72, 36), (8, 4)]


def test_the_scratch_question_is_answered_as_the_verdict_says(tmp_path: Path) -> None:
    synthesise.write(tmp_path, pictures=60, seed=2)

    examples = load(tmp_path / "train.jsonl")
    for verdict, asked in zip(examples[::2], examples[1::2], strict=True):
        assert isinstance(verdict.answer, Verdict)
        assert asked.answer == ("Yes" if "scratch" in verdict.answer.description else "No")


def _verdicts(examples: list[Example]) -> list[Verdict]:
    return [one.answer for one in examples if isinstance(one.answer, Verdict)]
