"""Examples of inspection tasks: what is written is read again, what is wrong is named with its line, and boxes are scored as usual."""

import json
from pathlib import Path
from typing import Any

import pytest
from inspection import QUESTION, Example, Verdict, WrongExample, dump, load, overlap
from PIL import Image
from score import tally

DEFECT = Verdict(defect_detected=True, description="a scratch at the top left", box=(10, 20, 30, 40), confidence=0.9)
SOUND = Verdict(defect_detected=False, description="no defect", box=None, confidence=0.95)
MISSING = object()
GOOD: dict[str, Any] = {"defect_detected": True, "description": "x", "box": [1, 2, 3, 4], "confidence": 1}


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    Image.new("RGB", (64, 64)).save(tmp_path / "one.png")
    return tmp_path / "one.png"


def test_what_is_written_is_read_again(picture: Path) -> None:
    examples = [Example(picture, QUESTION, DEFECT), Example(picture, QUESTION, SOUND), Example(picture, "划痕?", "有")]

    dump(examples, picture.parent / "all.jsonl")

    assert load(picture.parent / "all.jsonl") == examples


def test_a_model_is_taught_what_a_reader_of_verdicts_reads() -> None:
    assert [Verdict.read(verdict.written()) for verdict in (DEFECT, SOUND)] == [DEFECT, SOUND]


def test_other_fields_may_stand_beside(picture: Path) -> None:
    line = {"picture": "one.png", "question": "?", "answer": GOOD, "camera": 3}
    (picture.parent / "all.jsonl").write_text(json.dumps(line) + "\n\n")

    assert len(load(picture.parent / "all.jsonl")) == 1


@pytest.mark.parametrize(
    ("line", "says"),
    [
        pytest.param("{", "line 2", id="no JSON"),
        pytest.param("[]", "an example is an object", id="no object"),
        pytest.param({"picture": MISSING}, "picture is missing", id="no picture"),
        pytest.param({"picture": "two.png"}, "there is no picture two.png", id="a picture that is not there"),
        pytest.param({"question": " "}, "question is missing", id="no question"),
        pytest.param({"answer": ""}, "answer is empty", id="no answer"),
        pytest.param({"answer": None}, "a verdict is an object", id="null"),
        pytest.param({"answer": {"defect_detected": True}}, "see to description, box, confidence", id="half a verdict"),
        pytest.param({"answer": GOOD | {"score": 1}}, "see to score", id="a field too many"),
        pytest.param({"answer": GOOD | {"defect_detected": "yes"}}, "defect_detected is true or false", id="a word for a bool"),
        pytest.param({"answer": GOOD | {"description": ""}}, "description is a text", id="no description"),
        pytest.param({"answer": GOOD | {"confidence": 95}}, "confidence is a number from 0 to 1", id="percent"),
        pytest.param({"answer": GOOD | {"confidence": True}}, "confidence is a number from 0 to 1", id="a bool for a number"),
        pytest.param({"answer": GOOD | {"box": [1, 2, 3]}}, "box is null, or left, top, right and bottom", id="three edges"),
        pytest.param({"answer": GOOD | {"box": [0.1, 0.2, 0.3, 0.4]}}, "in whole pixels", id="shares"),
        pytest.param({"answer": GOOD | {"box": [3, 2, 1, 4]}}, "its left before its right", id="left and right exchanged"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(picture: Path, line: Any, says: str) -> None:
    right: dict[str, Any] = {"picture": "one.png", "question": "?", "answer": GOOD}
    wrong = line if isinstance(line, str) else json.dumps({name: value for name, value in (right | line).items() if value is not MISSING})
    file = picture.parent / "all.jsonl"
    file.write_text(json.dumps(right) + "\n" + wrong + "\n")

    with pytest.raises(WrongExample) as refused:
        load(file)

    assert str(refused.value).startswith(f"{file}, line 2: ")
    assert says in str(refused.value)


def test_a_file_without_examples_is_refused(tmp_path: Path) -> None:
    (tmp_path / "all.jsonl").write_text("\n")

    with pytest.raises(WrongExample, match="holds no example"):
        load(tmp_path / "all.jsonl")


@pytest.mark.parametrize(
    ("one", "other", "share"),
    [
        ((0, 0, 10, 10), (0, 0, 10, 10), 1.0),
        ((0, 0, 10, 10), (5, 0, 15, 10), 1 / 3),
        ((0, 0, 10, 10), (10, 0, 20, 10), 0.0),
        ((0, 0, 10, 10), (20, 20, 30, 30), 0.0),
        (None, None, 1.0),
        (None, (0, 0, 1, 1), 0.0),
    ],
)
def test_overlap(one: tuple[int, int, int, int] | None, other: tuple[int, int, int, int] | None, share: float) -> None:
    assert overlap(one, other) == overlap(other, one) == pytest.approx(share)


def test_a_score_tells_missed_from_over_kill(picture: Path) -> None:
    """Four verdicts (one defect found with half its box, one missed, one sound part refused, one answer that is none) and two texts."""
    half = Verdict(defect_detected=True, description="x", box=(10, 20, 20, 40), confidence=0.5)
    answered = [
        (Example(picture, QUESTION, DEFECT), half.written()),
        (Example(picture, QUESTION, DEFECT), SOUND.written()),
        (Example(picture, QUESTION, SOUND), DEFECT.written()),
        (Example(picture, QUESTION, SOUND), "No."),
        (Example(picture, "?", "Yes"), "Yes"),
        (Example(picture, "?", "Yes"), "yes"),
    ]

    score = tally(answered)

    assert (score.verdicts, score.valid, score.right, score.missed, score.over_kill) == (4, 75.0, 25.0, 50.0, 50.0)
    assert (score.box_overlap, score.texts, score.exact) == (50.0, 2, 50.0)
