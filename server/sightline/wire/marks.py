"""Letters with more marks over them than anybody writes: putting them in order takes the square of their number.

Unicode's normal forms sort the marks of a letter, and CPython does so by insertion: 128 kB of two marks in turn, of which one belongs
before the other, take ten seconds (measured). Whoever normalises a caller's text asks here first. Thirty marks on one letter are what
Unicode's own Stream-Safe Text Format allows (UAX #15, section 13).
"""

import re
import unicodedata
from functools import lru_cache

MOST = 30
_FIRST, _LAST = "\u0300", "\U0001ffff"  # all marks lie within


def is_stacked(text: str) -> bool:
    """Whether a letter in `text` has more than `MOST` marks."""
    return not text.isascii() and _stack().search(text) is not None


def unstacked(text: str) -> str:
    """`text` without any letter's marks beyond `MOST`."""
    return text if text.isascii() else _stack().sub(lambda found: found[0][:MOST], text)


@lru_cache(1)
def _stack() -> re.Pattern[str]:
    """More than `MOST` characters that are marks, or begin with one when they are taken apart."""
    every = map(chr, range(ord(_FIRST), ord(_LAST)))
    marks = [char for char in every if unicodedata.combining(unicodedata.normalize("NFKD", char)[0])]
    mark = f"[{''.join(marks)}]"
    return re.compile(f"{mark}{mark}{{{MOST},}}")  # written twice, since the first alone is what the engine looks ahead for: half the time
