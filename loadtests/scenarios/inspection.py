"""Inspection line: one picture after the other at the belt's pace, none seen before, each answer an object that obeys a schema."""

import plates
from loadtests.pictures.album import Album
from loadtests.scenarios.asks import Ask, chat, said, seen

NAME = "inspection line"
RULES = "You inspect labels by the house's rules. Light: 800 lux, 5000 K. Report what is on the label and whether it is scratched."
QUESTION = plates.QUESTIONS["json"][0]
SCHEMA = {
    "type": "object",
    "properties": {
        "serial": {"type": "string", "maxLength": 12},
        "color": {"enum": list(plates.COLORS)},
        "shape": {"enum": list(plates.SHAPES)},
        "scratch": {"type": "boolean"},
    },
    "required": ["serial", "color", "shape", "scratch"],
    "additionalProperties": False,
}
FORMAT = {"type": "json_schema", "json_schema": {"name": "label", "strict": True, "schema": SCHEMA}}


class Inspection:
    def __init__(self, model: str, album: Album) -> None:
        self._model, self._album = model, album

    def ask(self) -> Ask:
        message = seen(self._album.uri("part", self._album.unseen("part")), QUESTION)
        return Ask(NAME, chat(self._model, [said(RULES, by="system"), message], max_tokens=96, response_format=FORMAT), schema=True)

    def heard(self, text: str) -> None:
        """The belt goes on whatever was said."""
