"""Personal data taken out of answers: phone numbers, e-mail addresses, ID cards and bank cards become `[phone]`, `[email]` …

Small patterns, and checksums wherever the form has one, so that serial numbers and prices stay. Every pattern is bounded and begins where
a run of digits begins, so that hostile text costs no more than any other. (Presidio brings spaCy models and 100 MB for the same forms.)
"""

import re
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from sightline.limits.keyfile import Masked

LONGEST = 192  # characters of the longest form, an e-mail address
HELD = 4 * LONGEST  # characters that a stream holds back at most

# Full-width forms, as Chinese input methods write them, and other blanks and dashes: each stands for one character, so places agree.
_PLAIN = str.maketrans("０１２３４５６７８９＋－（）＠．　Ｘｘ\u00a0\u2009\u202f\u2010\u2011\u2012\u2013", "0123456789+-()@. Xx   ----")

_FOREIGN = re.compile("[０-９＋－（）＠．　Ｘｘ\u00a0\u2009\u202f\u2010-\u2013]")

# Where a form may begin: a digit or a capital that is not within a word, a plus or a bracket before a digit.
# What follows must be able to go on, so that a text of brackets and single digits costs nothing.
_BEGIN = r"(?=[0-9+(A-Z])(?:(?<![0-9A-Za-z_])(?=[0-9][0-9 .-]|[A-Z][0-9A-Z])|(?=\+[0-9(]|\([0-9+][0-9]))"
_END = r"(?![0-9A-Za-z_@])"

_AT = re.compile(r"[A-Za-z0-9_%+-]@(?=[A-Za-z0-9])")
_DOMAIN = re.compile(r"(?:[A-Za-z0-9-]{1,63}\.){1,4}[A-Za-z]{2,24}(?![A-Za-z0-9-])")
_LOCAL = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._%+-"
_LOCAL_LONGEST = 64  # RFC 5321 §4.5.3.1.1

# The end of a text, read backwards, that more text could make personal: a word, or digits with blanks between them.
_OPEN = re.compile(r"(?: (?=[0-9)]))?[\w.%+@()-]*(?:(?<=[0-9(+-]) (?=[0-9)])[\w.%+@()-]+)*", re.ASCII)

# Where cards are issued: digits they begin with, and how long those are (ISO/IEC 7812; networks' own tables).
_CARDS = re.compile(
    rb"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|220[0-4][0-9]{12}"
    rb"|62[0-9]{14,17}|(?:6011|65[0-9]{2}|64[4-9][0-9])[0-9]{12,15}|3[47][0-9]{13}|35(?:2[89]|[3-8][0-9])[0-9]{12}|3(?:0[0-5]|[68][0-9])[0-9]{11}"
)
_REGIONS = frozenset(
    [*range(11, 16), *range(21, 24), *range(31, 38), *range(41, 47), *range(50, 55), *range(61, 66), 71, 81, 82, 83, 91]
)  # GB/T 2260


class Masker:
    """Masks the `kinds` of personal data; holds no text, so one serves every answer."""

    def __init__(self, kinds: Collection[Masked]) -> None:
        self._kinds = frozenset(kinds)
        self._forms = [form for form in _FORMS if form.kind in self._kinds]
        # One pattern finds where any form may stand, and which of them first: mostly none does, and that is told without a word of Python.
        self._any = re.compile(f"{_BEGIN}(?:{'|'.join(f'({form.pattern.pattern})' for form in self._forms)})", re.DOTALL)
        others = {char: [form for form in self._forms if char in form.begins] for char in _BEGINNINGS}
        self._after = [{char: others[char][others[char].index(form) + 1 :] for char in form.begins} for form in self._forms]

    def mask(self, text: str, before: str = "") -> str:
        """`text` without personal data. `before` is the character that came before it, when it is a part of something longer."""
        return _masked(text, self.find(text, before))

    def find(self, text: str, before: str = "") -> list[tuple[int, int, Masked]]:
        """Where personal data stands in `text`: (begin, end, kind), in order, none over another."""
        plain = _plain(before + text)
        emails = list(_emails(plain)) if "email" in self._kinds else []
        numbers = list(self._numbers(plain, emails)) if self._forms else []
        return [(start - len(before), end - len(before), kind) for start, end, kind in sorted(emails + numbers)]

    def stream(self) -> "MaskedText":
        return MaskedText(self)

    def _numbers(self, text: str, emails: Sequence[tuple[int, int, Masked]]) -> Iterator[tuple[int, int, Masked]]:
        ahead = iter([*emails, (len(text), len(text), "email")])
        email = next(ahead)
        at = 0
        search, forms, after = self._any.search, self._forms, self._after
        while (found := search(text, at)) is not None:
            start, which = found.start(), found.lastindex or 1
            while email[1] <= start < len(text):
                email = next(ahead)
            form, end = forms[which - 1], found.end()
            if end <= email[0] and form.is_right(text[start:end]):
                yield start, end, form.kind
                at = end
                continue
            for form in after[which - 1][text[start]]:
                match = form.pattern.match(text, start)
                if match is not None and match.end() <= email[0] and form.is_right(match[0]):
                    yield start, match.end(), form.kind
                    at = match.end()
                    break
            else:
                at = start + 1  # no other form begins within this run of letters and digits: `_BEGIN` sees to that


class MaskedText:
    """One text that comes in pieces: each piece is given on as soon as nothing personal can reach beyond its end."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker
        self._held = ""
        self._before = ""

    def feed(self, text: str) -> str:
        self._held += text
        end = len(self._held)
        match = _OPEN.match(_plain(self._held[-HELD - 3 :])[::-1])  # three more, since a blank is judged by its neighbours
        end -= match.end() if match else 0
        if len(self._held) - end <= HELD:
            return self._give(end, None)
        # More than any form needs: what begins before the last LONGEST characters is all here. Nothing found is cut in two.
        end = len(self._held) - LONGEST
        found = [one for one in self._masker.find(self._held, self._before) if one[0] < end]
        return self._give(max(end, found[-1][1]) if found else end, found)

    def finish(self) -> str:
        return self._give(len(self._held), None)

    def _give(self, end: int, found: list[tuple[int, int, Masked]] | None) -> str:
        """What is held up to `end`, masked; `found` is what was found there, if somebody has looked."""
        ready, self._held = self._held[:end], self._held[end:]
        if not ready:
            return ""
        masked = _masked(ready, self._masker.find(ready, self._before) if found is None else found)
        self._before = ready[-1]
        return masked


def _masked(text: str, found: Sequence[tuple[int, int, Masked]]) -> str:
    pieces, at = [], 0
    for start, end, kind in found:
        pieces += [text[at : max(0, start)], f"[{kind}]"]
        at = end
    return "".join([*pieces, text[at:]]) if pieces else text


def _plain(text: str) -> str:
    """The same text with plain digits, blanks and signs in the same places."""
    return text if text.isascii() or _FOREIGN.search(text) is None else text.translate(_PLAIN)


def _emails(text: str) -> Iterator[tuple[int, int, Masked]]:
    last = 0
    for match in _AT.finditer(text):
        at = match.end() - 1
        domain = _DOMAIN.match(text, at + 1)
        if domain is None:
            continue
        floor = max(last, at - _LOCAL_LONGEST)
        last = domain.end()
        yield floor + len(text[floor:at].rstrip(_LOCAL)), last, "email"


def _digits(text: str) -> str:
    return "".join(char for char in text if char.isdigit())


def _is_resident(text: str) -> bool:
    """GB 11643: a region, a birthday that exists, and a check character by ISO 7064 MOD 11-2."""
    plain = "".join(char for char in text.upper() if char.isalnum())
    try:
        date(int(plain[6:10]), int(plain[10:12]), int(plain[12:14]))
    except ValueError:
        return False
    total = sum(int(char) * pow(2, 17 - place, 11) for place, char in enumerate(plain[:17]))
    return int(plain[:2]) in _REGIONS and "10X98765432"[total % 11] == plain[17]


def _is_hong_kong(text: str) -> bool:
    """A check digit so that the weighted sum is divisible by 11; a missing first letter counts as a blank, 36."""
    plain = text.replace("(", "").replace(")", "").rjust(9)
    values = [36 if char == " " else ord(char) - 55 if char.isalpha() else int(char) for char in plain[:8]]
    check = 10 if plain[8] == "A" else int(plain[8])
    return (sum(value * weight for value, weight in zip(values, range(9, 1, -1), strict=True)) + check) % 11 == 0


def _is_social(text: str) -> bool:
    """What the US Social Security Administration never gave out is none."""
    return text[:3] not in {"000", "666"} and text[4:6] != "00" and text[7:] != "0000"


def _is_card(text: str) -> bool:
    """A network's number by ISO/IEC 7812-1: its first digits and length, and the check digit of annex B."""
    digits = text.encode().translate(None, b" -")
    return (sum(digits[-1::-2].translate(_ONCE)) + sum(digits[-2::-2].translate(_TWICE))) % 10 == 0 and _CARDS.fullmatch(digits) is not None


def _is_abroad(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15  # E.164's most, and the least that any country dials


def _is_trunk(text: str) -> bool:
    return 10 <= len(_digits(text)) <= 12  # area code and number


def _always(text: str) -> bool:  # noqa: ARG001 - the pattern said it all
    return True


_BEGINNINGS = "0123456789+(ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ONCE = bytes.maketrans(b"0123456789", bytes(range(10)))  # a digit's code to what it counts
_TWICE = bytes.maketrans(b"0123456789", bytes([0, 2, 4, 6, 8, 1, 3, 5, 7, 9]))


@dataclass(frozen=True, slots=True)
class _Form:
    """One form: its kind, the characters it begins with, its pattern, and a check of what matched."""

    kind: Masked
    begins: str
    pattern: re.Pattern[str]
    is_right: Callable[[str], bool] = _always


_FORMS = (
    # Resident identity card: region, birthday, order, check character.
    _Form("id_card", "123456789", re.compile(rf"[1-9][0-9]{{5}}[ -]?(?:19|20)[0-9]{{6}}[ -]?[0-9]{{3}}[0-9Xx]{_END}"), _is_resident),
    _Form("id_card", _BEGINNINGS[12:], re.compile(rf"[A-Z]{{1,2}}[0-9]{{6}}(?:\([0-9A]\)|[0-9A]{_END})"), _is_hong_kong),
    _Form("id_card", "012345678", re.compile(rf"[0-8][0-9]{{2}}-[0-9]{{2}}-[0-9]{{4}}{_END}"), _is_social),
    # Cards: in one run, in fours, or as American Express (4-6-5) and Diners (4-6-4) print them.
    _Form("bank_card", "23456", re.compile(rf"[2-6][0-9]{{12,18}}{_END}"), _is_card),
    _Form("bank_card", "23456", re.compile(rf"[2-6][0-9]{{3}}(?:[ -][0-9]{{4}}){{3}}(?:[ -][0-9]{{1,3}})?{_END}"), _is_card),
    _Form("bank_card", "3", re.compile(rf"3[0-9]{{3}}[ -][0-9]{{6}}[ -][0-9]{{4,5}}{_END}"), _is_card),
    # Chinese mobile numbers, with or without the country's code.
    _Form("phone", "1", re.compile(rf"1[3-9][0-9](?:[ -]?[0-9]{{4}}){{2}}{_END}")),
    _Form("phone", "+08(", re.compile(rf"(?:\+|00)?(?:86|\(\+?86\))[ -]?1[3-9][0-9](?:[ -]?[0-9]{{4}}){{2}}{_END}")),
    # E.164: a plus, then 8 to 15 digits, in one run or in groups.
    _Form(
        "phone",
        "+",
        re.compile(rf"\+(?=(?:[ .()-]{{0,2}}[0-9]){{8}})[1-9][0-9]{{0,14}}(?:[ .()-]{{1,2}}[0-9]{{1,8}}){{0,7}}{_END}"),
        _is_abroad,
    ),
    # With a trunk zero: landlines (010-8888 8888, 0755-8888888), and others so written (07700 900123).
    _Form("phone", "0(", re.compile(rf"(?:\(0[0-9]{{2,4}}\)[ -]?|0[0-9]{{2,4}}[ -])[1-9][0-9]{{2,3}}[ -]?[0-9]{{3,4}}{_END}"), _is_trunk),
    # North America without the plus, always in groups.
    _Form(
        "phone",
        "123456789(",
        re.compile(rf"(?:1[ .-])?(?:\([2-9][0-9]{{2}}\) ?|[2-9][0-9]{{2}}[ .-])[2-9][0-9]{{2}}[ .-][0-9]{{4}}{_END}"),
    ),
)
