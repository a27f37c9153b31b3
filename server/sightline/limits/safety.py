"""The safety hooks of a request: words that it may not contain, personal data that its answer may not show. By settings, or by key."""

from collections.abc import Iterator
from typing import Any

from sightline.limits.callers import Caller
from sightline.limits.keyfile import Masked
from sightline.limits.masked import masked
from sightline.limits.masking import Masker
from sightline.limits.words import WordList
from sightline.settings import Safety as Settings
from sightline.settings import SettingsError
from sightline.wire.protocol import ChatRequest
from sightline.wire.reply import Reply


class Safety:
    """Reads the word list at construction; raises SettingsError when it is asked for and cannot be had."""

    def __init__(self, settings: Settings) -> None:
        if settings.words and settings.words_file is None:
            raise SettingsError("safety.words: there is no list to check by; name one with safety.words_file")
        self._words = WordList.read(settings.words_file) if settings.words_file else None
        self._check = settings.words
        self._mask = settings.mask
        self._maskers: dict[tuple[Masked, ...], Masker] = {}

    def check(self, request: ChatRequest, caller: Caller) -> None:
        """Raises InvalidRequest(content_policy_violation) when a text of the request holds a word of the list."""
        wanted = self._check if caller.safety.words is None else caller.safety.words
        if wanted and self._words is not None:
            self._words.check(_texts(request.body["messages"]))

    def masked(self, reply: Reply, caller: Caller) -> Reply:
        kinds = self._mask if caller.safety.mask is None else caller.safety.mask
        if not kinds:
            return reply
        masker = self._maskers.get(kinds)
        if masker is None:
            masker = self._maskers[kinds] = Masker(kinds)
        return masked(reply, masker)


def _texts(value: Any) -> Iterator[str]:
    """Every text in the messages, whoever is said to have written it."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)
