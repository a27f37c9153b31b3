"""E-commerce audit: many pictures, few questions, and listings that are checked again: 40 % repeats, best-sellers more often (Zipf)."""

from random import Random

from loadtests.pictures.album import Album
from loadtests.scenarios.asks import Ask, chat, seen

NAME = "e-commerce audit"
REPEATS = 0.4
PHONES = 0.05  # pictures that a seller took with a phone and never shrank
MOST = 50_000  # listings that may come again; older ones are the better known
QUESTIONS = (
    "Does the picture show an organic mark? Answer yes or no.",
    "Is there text over the product? Answer yes or no.",
    "Is the background plain? Answer yes or no.",
    "Does the picture show a price? Answer yes or no.",
    "Is a person in the picture? Answer yes or no.",
)

Listing = tuple[str, int, str]  # kind and number of its picture, and the question that was asked about it


class Audit:
    """`listings` are those checked so far, by all who audit the same shop."""

    def __init__(self, model: str, album: Album, dice: Random, listings: list[Listing]) -> None:
        self._model, self._album, self._dice, self._listings = model, album, dice, listings

    def ask(self) -> Ask:
        kind, number, question = self._known() if self._listings and self._dice.random() < REPEATS else self._new()
        message = seen(self._album.uri(kind, number), question)
        return Ask(NAME, chat(self._model, [message], max_tokens=8))

    def heard(self, text: str) -> None:
        """Each listing is a question of its own."""

    def _known(self) -> Listing:
        """Zipf's law with exponent 1: the chance of the listing at rank r goes with 1/r."""
        rank = len(self._listings) ** self._dice.random()
        return self._listings[int(rank) - 1]

    def _new(self) -> Listing:
        kind = "phone" if self._dice.random() < PHONES else "product"
        listing = (kind, self._album.unseen(kind), self._dice.choice(QUESTIONS))
        if len(self._listings) < MOST:
            self._listings.append(listing)
        return listing
