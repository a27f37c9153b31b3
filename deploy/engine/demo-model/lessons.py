"""A lesson: freshly drawn plates as the model takes them, with what it should say about each and what each of its visual tokens shows."""

from dataclasses import dataclass
from io import BytesIO
from random import Random

import numpy as np
import plates
import torch
from PIL import Image
from plates import CELL, HEIGHT, WIDTH, Plate
from transformers import PreTrainedTokenizerBase

PATCH = CELL // 2
TOKENS = (WIDTH // CELL) * (HEIGHT // CELL)
QUESTIONS_A_PLATE = 2
DECISIVE = 4.0  # weight of a token that says whether there is a scratch: one token of an answer, and the last thing the model learns

# The numbers of classes that a visual token is taught to tell apart; class 0 is "none here".
# Without the character's position in the serial the model learns the characters, but not their order.
SIGHTS = {
    "character": len(plates.ALPHABET) + 1,
    "position": plates.SERIAL_LENGTH + 1,
    "color": len(plates.COLORS) + 1,
    "shape": len(plates.SHAPES) + 1,
    "scratch": 2,
}

_MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
_SPREAD = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)


@dataclass(frozen=True, slots=True)
class Lesson:
    """One batch: `inputs` are the model's arguments; `weights` (batch, length) says which tokens of the talk count, and how much.

    `sights` holds the class of every visual token, (batch × tokens), by kind.
    """

    inputs: dict[str, torch.Tensor]
    weights: torch.Tensor
    sights: dict[str, torch.Tensor]


class Tutor:
    """Makes lessons: the words of the tokenizer, the plates of the random generator."""

    def __init__(self, tokenizer: PreTrainedTokenizerBase, rng: Random) -> None:
        self._tokenizer = tokenizer
        self._rng = rng
        self._image, self._end = self._ids("<|image|>")[0], self._ids("<|endoftext|>")[0]
        self._user, self._assistant = self._ids("<|user|>\n"), self._ids("<|assistant|>\n")
        self._verdicts = {self._ids(word)[0] for word in (" true", " false")}

    def lesson(self, size: int) -> Lesson:
        """`size` plates, each with questions about it."""
        shown = [self._plate() for _ in range(size)]
        talks = [self._talk(plate) for plate in shown]
        length = max(len(ids) for ids, _ in talks)
        ids = torch.full((size, length), self._end)
        weights = torch.zeros((size, length))
        attention = torch.zeros((size, length), dtype=torch.long)
        for row, (said, weight) in enumerate(talks):
            ids[row, : len(said)] = torch.tensor(said)
            weights[row, : len(said)] = torch.tensor(weight)
            attention[row, : len(said)] = 1
        inputs = {
            "input_ids": ids,
            "attention_mask": attention,
            "mm_token_type_ids": (ids == self._image).long(),
            "pixel_values": torch.from_numpy(np.concatenate([_patches(_worn(plate.picture, self._rng)) for plate in shown])),
            "image_grid_thw": torch.tensor([[1, HEIGHT // PATCH, WIDTH // PATCH]] * size),
        }
        return Lesson(inputs, weights, _sights(shown))

    def _plate(self) -> Plate:
        """A plate from below the fresh seeds; two in five of those without a scratch across the serial, which are easy, are left out."""
        while True:
            plate = plates.plate(self._rng.randrange(plates.FRESH))
            if _crossed(plate) or self._rng.random() < 0.6:
                return plate

    def _talk(self, plate: Plate) -> tuple[list[int], list[float]]:
        """A chat about the plate as token ids, and each token's weight in the loss: only what the assistant says counts."""
        ids, weights = self._ids("[gMASK]<sop>"), [0.0, 0.0]
        kinds = self._rng.sample(list(plates.QUESTIONS), QUESTIONS_A_PLATE)
        right = plates.answers(plate.label)
        for turn, kind in enumerate(kinds):
            picture = [*self._ids("<|begin_of_image|>"), *[self._image] * TOKENS, *self._ids("<|end_of_image|>")] if turn == 0 else []
            asked = [*self._user, *picture, *self._ids(self._rng.choice(plates.QUESTIONS[kind])), *self._assistant]
            answer = self._ids(right[kind])
            ids += asked + answer
            # An answer ends where the next turn begins, so the <|user|> after one is learnt as its end.
            weights += [1.0 if turn and place == 0 else 0.0 for place in range(len(asked))]
            weights += [DECISIVE if kind == "scratch" or token in self._verdicts else 1.0 for token in answer]
        return [*ids, self._end], [*weights, 1.0]

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer.encode(text, add_special_tokens=False))


def _crossed(plate: Plate) -> bool:
    """Does the scratch run over the serial? There a stroke is hard to tell from a scratch, for the serial and for the scratch."""
    return any(abs(x - left) < CELL // 2 and abs(y - middle) < CELL * 2 // 3 for x, y in plate.scratch for left, middle in plate.characters)


def _worn(picture: Image.Image, rng: Random) -> Image.Image:
    """One plate in three as a JPEG, one in three drawn to another size and back: what happens to pictures on their way."""
    if rng.random() < 1 / 3:
        factor = rng.uniform(0.85, 3.0)
        larger = picture.resize((round(WIDTH * factor), round(HEIGHT * factor)), Image.Resampling.BICUBIC)
        picture = larger.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC)
    if rng.random() < 1 / 3:
        copy = BytesIO()
        picture.save(copy, "JPEG", quality=rng.randint(75, 95))
        picture = Image.open(copy).convert("RGB")
    return picture


def _patches(picture: Image.Image) -> np.ndarray:
    """The picture as Glm46VImageProcessor cuts it: (patches, 3 × 2 × 14 × 14), two by two patches a cell, the picture twice in time."""
    columns, rows = picture.width // PATCH, picture.height // PATCH
    levels = ((np.asarray(picture, np.float32) / 255 - _MEAN) / _SPREAD).transpose(2, 0, 1)
    cells = levels.reshape(3, rows // 2, 2, PATCH, columns // 2, 2, PATCH).transpose(1, 4, 2, 5, 0, 3, 6)
    return np.repeat(cells[:, :, :, :, :, None], 2, axis=5).reshape(rows * columns, -1)


def _sights(shown: list[Plate]) -> dict[str, torch.Tensor]:
    sights = {kind: torch.zeros(len(shown), TOKENS, dtype=torch.long) for kind in SIGHTS}
    for row, plate in enumerate(shown):
        for position, (character, place) in enumerate(zip(plate.label.serial, plate.characters, strict=True)):
            sights["character"][row, _cell(*place)] = plates.ALPHABET.index(character) + 1
            sights["position"][row, _cell(*place)] = position + 1
        sights["color"][row, _cell(*plate.shape)] = list(plates.COLORS).index(plate.label.color) + 1
        sights["shape"][row, _cell(*plate.shape)] = plates.SHAPES.index(plate.label.shape) + 1
        for start, end in zip(plate.scratch, plate.scratch[1:], strict=False):
            for share in (0.0, 0.25, 0.5, 0.75, 1.0):
                sights["scratch"][row, _cell(*(round(a + (b - a) * share) for a, b in zip(start, end, strict=True)))] = 1
    return {kind: classes.flatten() for kind, classes in sights.items()}


def _cell(x: int, y: int) -> int:
    """The number of the visual token that shows the point."""
    return min(max(y, 0), HEIGHT - 1) // CELL * (WIDTH // CELL) + min(max(x, 0), WIDTH - 1) // CELL
