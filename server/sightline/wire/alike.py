"""Chunks that differ from the one before in nothing but their text: told by comparing what stands before it and behind it.

Nothing rests on luck: the text has to be the inside of one JSON string, as it was in the chunk that was parsed.
"""

import re

_TEXT_BEGINS = b'"delta":{"content":"'
# RFC 8259 §7, but for escapes of surrogates: those have to come in pairs, and are for the parser to judge.
_in_a_string = re.compile(rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u(?![dD][89a-fA-F])[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*').fullmatch


class Alike:
    """What stands before and behind the text in chunks that differ in nothing else, as an engine's chunks of text do.

    A chunk whose `text` it can tell need not be parsed: it says the same, but for the text.
    """

    __slots__ = ("_before", "_behind", "_least")

    def __init__(self, before: bytes, behind: bytes) -> None:
        self._before = before
        self._behind = behind
        self._least = len(before) + len(behind)

    @classmethod
    def of(cls, data: bytes) -> "Alike | None":
        """Of `data`, which holds a valid chunk; None where it has no text, more than one, or one with escapes."""
        before, mark, rest = data.partition(_TEXT_BEGINS)
        text, quote, after = rest.partition(b'"')
        return cls(before + mark, quote + after) if quote and b"\\" not in text and data.count(b'"content"') == 1 else None

    def text(self, data: bytes) -> bytes | None:
        """The text of `data`, as it stands in JSON, if that is such a chunk."""
        if len(data) < self._least or not data.startswith(self._before) or not data.endswith(self._behind):
            return None
        text = data[len(self._before) : -len(self._behind)]
        return text if _in_a_string(text) else None
