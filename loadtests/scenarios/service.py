"""Customer service: a ticket with a screenshot, up to three questions about it, streamed; one person in twenty leaves before the end."""

from random import Random

from loadtests.pictures.album import Album
from loadtests.scenarios.asks import Ask, Message, chat, said, seen

NAME = "customer service"
LEAVES = 0.05
PHOTOS = 0.15  # tickets with a photo of the broken thing instead of a screenshot
QUESTIONS = (
    "What is the customer complaining about? Answer in two sentences.",
    "Which amount, date and order number stand in the small print?",
    "Write a short, friendly reply that solves it.",
)


class Service:
    def __init__(self, model: str, album: Album, dice: Random) -> None:
        self._model, self._album, self._dice = model, album, dice
        self._talk: list[Message] = []
        self._turns = 0

    def ask(self) -> Ask:
        if not 0 < self._turns < len(QUESTIONS) or self._talk[-1]["role"] != "assistant":
            kind = "phone" if self._dice.random() < PHOTOS else self._dice.choice(("screenshot", "table"))
            self._talk, self._turns = [seen(self._album.uri(kind, self._album.unseen(kind)), QUESTIONS[0])], 1
        else:
            self._talk.append(said(QUESTIONS[self._turns]))
            self._turns += 1
        body = chat(self._model, self._talk, max_tokens=64, stream=True, stream_options={"include_usage": True})
        leaves = self._dice.randrange(1, 6) if self._dice.random() < LEAVES else None
        return Ask(NAME, body, stream=True, leave_after=leaves)

    def heard(self, text: str) -> None:
        """The talk goes on, or, two times in five, the ticket is solved."""
        self._talk.append(said(text, by="assistant"))
        if self._dice.random() < 0.4:
            self._turns = 0
