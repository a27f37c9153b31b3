"""The model's card names every question that the model knows, word for word, and gives a figure for each kind."""

import re
from importlib.resources import files

import plates
import pytest

CARD = files("sightline.demo").joinpath("README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("question", [phrasing for kind in plates.QUESTIONS.values() for phrasing in kind])
def test_a_question_is_on_the_card(question: str) -> None:
    assert f"`{question}`" in CARD


@pytest.mark.parametrize("kind", plates.QUESTIONS)
def test_a_figure_is_on_the_card(kind: str) -> None:
    assert re.search(rf"^\| {kind} \|( \d+\.\d % \|)+$", CARD, re.MULTILINE)


@pytest.mark.parametrize("word", [*plates.COLORS, *plates.SHAPES])
def test_what_it_can_tell_apart_is_on_the_card(word: str) -> None:
    assert word in CARD
