"""Words that a request may not contain: all looked for in one pass (Aho-Corasick, in C), so a long list costs what a short one does.

Case, full-width forms and characters that cannot be seen make no difference. A word of letters that are written with blanks between words
is only found as a whole word ("ass" is not in "class"); Chinese, Japanese and Korean words are found anywhere.
"""

import unicodedata
from collections.abc import Iterable
from pathlib import Path

import ahocorasick  # type: ignore[import-not-found]  # it carries no types

from sightline.errors import InvalidRequest
from sightline.settings import SettingsError
from sightline.wire.marks import unstacked

_UNSEEN = frozenset({"Cf", "Mn"})  # joiners, soft hyphens, marks over letters: what a reader hardly sees and a program may hide a word with
_EAST = "\u2e80"  # from here on come scripts that are written without blanks


class WordList:
    def __init__(self, words: Iterable[str]) -> None:
        self._tree = ahocorasick.Automaton()
        for word in words:
            if plain := _plain(word).strip():
                self._tree.add_word(plain, plain)
        self._tree.make_automaton()

    @classmethod
    def read(cls, file: Path) -> "WordList":
        """The words of `file`, one a line; raises SettingsError when it cannot be read or holds none."""
        try:
            lines = file.read_text(encoding="utf-8-sig").splitlines()
        except OSError as error:
            raise SettingsError(f"safety.words_file: {file} cannot be read: {error.strerror}") from None
        except UnicodeDecodeError:
            raise SettingsError(f"safety.words_file: {file} is not UTF-8 text") from None
        words = [line.partition("#")[0].strip() for line in lines]
        if not any(words):
            raise SettingsError(f"safety.words_file: {file} holds no words; write one a line")
        return cls(words)

    def __contains__(self, text: str) -> bool:
        """Whether any of the words is in `text`."""
        plain = _plain(text)
        return len(self._tree) > 0 and any(_stands_alone(plain, end + 1 - len(word), end + 1) for end, word in self._tree.iter(plain))

    def check(self, texts: Iterable[str]) -> None:
        """Refuses a request with one of the words in its `texts`; which one is not said, so that the list cannot be read out."""
        for text in texts:
            if text in self:
                raise InvalidRequest(
                    "The request contains words that this service does not answer. Rephrase it.",
                    code="content_policy_violation",
                    param="messages",
                    should_retry=False,
                )


def _plain(text: str) -> str:
    """One form for all ways of writing a word (Unicode TR 15 NFKC, TR 21 case folding), without what cannot be seen."""
    if text.isascii():
        return text.lower()
    folded = unicodedata.normalize("NFKD", unstacked(text)).casefold()
    seen = "".join([char for char in folded if char < "\u0080" or unicodedata.category(char) not in _UNSEEN])
    return unicodedata.normalize("NFC", unstacked(seen))


def _stands_alone(text: str, start: int, end: int) -> bool:
    return not (_joins(text, start - 1) and _joins(text, start)) and not (_joins(text, end - 1) and _joins(text, end))


def _joins(text: str, at: int) -> bool:
    """Whether the character there is one that words with blanks between them are made of."""
    return 0 <= at < len(text) and text[at] < _EAST and text[at].isalnum()
