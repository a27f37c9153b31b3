"""The answers that the model is taught are the label's own words, and the JSON answer parses to the label."""

import json
from dataclasses import asdict

import plates
import pytest

LABEL = plates.Label(serial="AB12CD", color="red", shape="star", scratch=True)


def test_each_kind_of_question_has_its_answer() -> None:
    assert plates.answers(LABEL) == {
        "serial": "AB12CD",
        "color": "red",
        "shape": "star",
        "scratch": "Yes",
        "json": '{"serial": "AB12CD", "color": "red", "shape": "star", "scratch": true}',
    }
    assert plates.answers(LABEL).keys() == plates.QUESTIONS.keys()


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_json_answer_is_the_label(seed: int) -> None:
    label = plates.plate(seed).label

    assert json.loads(plates.answers(label)["json"]) == asdict(label)


def test_no_phrasing_asks_for_two_things() -> None:
    phrasings = [phrasing for kind in plates.QUESTIONS.values() for phrasing in kind]

    assert len(phrasings) == len(set(phrasings))
