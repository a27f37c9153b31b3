"""Dashboard: one chart, many questions about it, streamed; then the next chart."""

from random import Random

from loadtests.pictures.album import Album
from loadtests.pictures.samples import MONTHS, SERIES
from loadtests.scenarios.asks import Ask, chat, seen

NAME = "dashboard"
QUESTIONS = 4, 12  # about one chart, at least and at most


class Dashboard:
    def __init__(self, model: str, album: Album, dice: Random) -> None:
        self._model, self._album, self._dice = model, album, dice
        self._chart, self._left = "", 0

    def ask(self) -> Ask:
        if not self._left:
            self._chart, self._left = self._album.uri("chart", self._album.unseen("chart")), self._dice.randint(*QUESTIONS)
        self._left -= 1
        question = f"How many {self._dice.choice(SERIES)} were there in {self._dice.choice(MONTHS)}? Answer with the number."
        return Ask(NAME, chat(self._model, [seen(self._chart, question, detail="high")], max_tokens=16, stream=True), stream=True)

    def heard(self, text: str) -> None:
        """The next question does not depend on it."""
