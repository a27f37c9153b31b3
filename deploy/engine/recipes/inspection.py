"""Examples of inspection tasks: what a model is taught from, what it is measured on, and what quantisation is calibrated with.

A file of examples is JSONL: one example a line, beside its pictures.

    {"picture": "pictures/000017.png", "question": "Inspect …", "answer": {"defect_detected": true, "description": "a scratch at the
     top left", "box": [34, 20, 98, 41], "confidence": 0.95}}

`picture` is a path, relative to the file. `answer` is what the model shall say: a verdict as above, or a plain text for other tasks. A
box is left, top, right and bottom in pixels of the picture, or null where there is nothing to point at. `confidence`, from 0 to 1, is how
sure the verdict is, whichever it is. Other fields (a line, a camera, a lot number) may stand beside these and are left alone.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

QUESTION = "Inspect the label. Describe the defect as JSON."
Box = tuple[int, int, int, int]


class WrongExample(ValueError):
    """What is wrong with a verdict or an example; `load` says which line of which file."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an inspector says of a picture."""

    defect_detected: bool
    description: str
    box: Box | None
    confidence: float

    @classmethod
    def parse(cls, value: Any) -> Self:
        """A verdict out of JSON; raises WrongExample that names the field."""
        if not isinstance(value, dict):
            raise WrongExample("a verdict is an object")
        fields = ("defect_detected", "description", "box", "confidence")
        if odd := [*(name for name in fields if name not in value), *(name for name in value if name not in fields)]:
            raise WrongExample(f"a verdict has the fields {', '.join(fields)}; see to {', '.join(map(str, odd))}")
        found, description, box, confidence = (value[name] for name in fields)
        if not isinstance(found, bool):
            raise WrongExample("defect_detected is true or false")
        if not isinstance(description, str) or not description.strip():
            raise WrongExample("description is a text")
        if isinstance(confidence, bool) or not isinstance(confidence, int | float) or not 0 <= confidence <= 1:
            raise WrongExample("confidence is a number from 0 to 1")
        return cls(found, description, _box(box), float(confidence))

    @classmethod
    def read(cls, text: str) -> Self:
        """A model's answer; raises ValueError where it is no verdict."""
        return cls.parse(json.loads(text))

    def written(self) -> str:
        """As the model is taught to write it."""
        return json.dumps(asdict(self), ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Example:
    """One line: `answer` is a verdict or a plain text, `picture` a path that exists."""

    picture: Path
    question: str
    answer: Verdict | str

    @property
    def said(self) -> str:
        return self.answer if isinstance(self.answer, str) else self.answer.written()


def load(file: Path) -> list[Example]:
    """All examples of a file; raises WrongExample for the first line that is none, and OSError."""
    examples = []
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            examples.append(_example(json.loads(line), file.parent))
        except ValueError as error:
            raise WrongExample(f"{file}, line {number}: {error}") from None
    if not examples:
        raise WrongExample(f"{file} holds no example")
    return examples


def dump(examples: Iterable[Example], file: Path) -> None:
    """Writes examples whose pictures lie below the file's folder."""
    lines = []
    for example in examples:
        answer = example.answer if isinstance(example.answer, str) else asdict(example.answer)
        picture = example.picture.relative_to(file.parent).as_posix()
        lines.append(json.dumps({"picture": picture, "question": example.question, "answer": answer}, ensure_ascii=False))
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")


def overlap(one: Box | None, other: Box | None) -> float:
    """Intersection over union, from 0 to 1; two absent boxes agree."""
    if one is None or other is None:
        return float(one is other)
    width = min(one[2], other[2]) - max(one[0], other[0])
    height = min(one[3], other[3]) - max(one[1], other[1])
    shared = max(0, width) * max(0, height)
    return shared / (_area(one) + _area(other) - shared)


def _example(value: Any, folder: Path) -> Example:
    if not isinstance(value, dict):
        raise WrongExample("an example is an object")
    for name in ("picture", "question"):
        if not isinstance(value.get(name), str) or not value[name].strip():
            raise WrongExample(f"{name} is missing")
    picture = folder / value["picture"]
    if not picture.is_file():
        raise WrongExample(f"there is no picture {value['picture']}")
    answer = value.get("answer")
    if not isinstance(answer, str):
        answer = Verdict.parse(answer)
    elif not answer.strip():
        raise WrongExample("answer is empty")
    return Example(picture, value["question"], answer)


def _box(value: Any) -> Box | None:
    if value is None:
        return None
    if not isinstance(value, list | tuple) or len(value) != 4 or not all(type(edge) is int and edge >= 0 for edge in value):
        raise WrongExample("box is null, or left, top, right and bottom in whole pixels")
    left, top, right, bottom = value
    if left >= right or top >= bottom:
        raise WrongExample("box has its left before its right and its top before its bottom")
    return left, top, right, bottom


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])
