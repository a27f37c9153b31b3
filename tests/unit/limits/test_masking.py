"""Personal data is taken out of answers, however they come in pieces; what only looks like it stays."""

import random
import string
import time
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sightline.limits.keyfile import Masked
from sightline.limits.masking import HELD, Masker

ALL: tuple[Masked, ...] = ("phone", "email", "id_card", "bank_card")


def luhn(body: str) -> str:
    """`body` with its check digit."""
    total = sum(sum(divmod(2 * int(digit), 10)) if place % 2 == 0 else int(digit) for place, digit in enumerate(reversed(body)))
    return body + str(-total % 10)


def resident(chance: random.Random) -> str:
    region = chance.choice(["110105", "310112", "440305", "510104", "650102", "330106"])
    body = f"{region}{chance.randint(1930, 2020)}{chance.randint(1, 12):02}{chance.randint(1, 28):02}{chance.randint(0, 999):03}"
    weights = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2]
    return body + "10X98765432"[sum(int(digit) * weight for digit, weight in zip(body, weights, strict=True)) % 11]


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choice(string.digits) for _ in range(count))


def mobile(chance: random.Random) -> str:
    number = f"1{chance.choice('3456789')}{digits(chance, 9)}"
    grouped = chance.choice([number, f"{number[:3]} {number[3:7]} {number[7:]}", f"{number[:3]}-{number[3:7]}-{number[7:]}"])
    return chance.choice(["", "", "+86", "+86 ", "0086", "86-", "(+86)"]) + grouped


def landline(chance: random.Random) -> str:
    area = chance.choice(["010", "021", "0755", "0571"])
    number = f"{chance.randint(2, 8)}{digits(chance, 7)}"
    return chance.choice([f"{area}-{number}", f"({area}) {number}", f"({area}){number[:4]} {number[4:]}", f"{area} {number}"])


def abroad(chance: random.Random) -> str:
    n = chance.randint
    return chance.choice(
        [
            f"+1 ({n(201, 989)}) {n(200, 999)}-{n(0, 9999):04}",
            f"({n(201, 989)}) {n(200, 999)}-{n(0, 9999):04}",
            f"{n(201, 989)}-{n(200, 999)}-{n(0, 9999):04}",
            f"+44 20 {n(1000, 9999)} {n(1000, 9999)}",
            f"+49 30 {n(100000, 9999999)}",
            f"+33 6 {n(10, 99)} {n(10, 99)} {n(10, 99)} {n(10, 99)}",
            f"+81-3-{n(1000, 9999)}-{n(1000, 9999)}",
            f"+852 {n(2000, 9999)} {n(1000, 9999)}",
            f"+6591{n(100000, 999999)}",
        ]
    )


def email(chance: random.Random) -> str:
    name = "".join(chance.choice(string.ascii_letters + string.digits) for _ in range(chance.randint(1, 20)))
    domain = chance.choice(["example.com", "mail.example.co.uk", "qq.com", "163.com", "a-b.example.org"])
    return f"{name}{chance.choice(['', '.x', '_1', '+tag', '-z'])}@{domain}"


def card(chance: random.Random) -> str:
    start, length = chance.choice(
        [("4", 16), ("51", 16), ("55", 16), ("2221", 16), ("622202", 19), ("621700", 19), ("622848", 16), ("34", 15)]
    )
    number = luhn(start + digits(chance, length - len(start) - 1))
    if length == 15:
        return chance.choice([number, f"{number[:4]} {number[4:10]} {number[10:]}"])
    fours = [number[i : i + 4] for i in range(0, length, 4)]
    return chance.choice([number, " ".join(fours), "-".join(fours)])


def wide(chance: random.Random) -> str:
    """In full-width digits, as Chinese input methods write them."""
    return f"1{chance.choice('3456789')}{digits(chance, 9)}".translate(str.maketrans(string.digits, "０１２３４５６７８９"))


FORMS: dict[str, tuple[Masked, Callable[[random.Random], str]]] = {
    "mobile": ("phone", mobile),
    "full width": ("phone", wide),
    "landline": ("phone", landline),
    "abroad": ("phone", abroad),
    "email": ("email", email),
    "resident": ("id_card", resident),
    "card": ("bank_card", card),
}
AROUND = [
    ("客户电话", "，请尽快联系。"),
    ("联系方式：", ""),
    ("Please reach me at ", " before noon."),
    ("Contact: ", "; the order has 3 items at 19.99 each, total 59.97."),
    ('{"contact": "', '", "verdict": "ok"}'),
    ("The picture shows a label reading ", "\n\nNothing else."),
    ("2024年3月15日，用户（", "）投诉屏幕划痕。"),
]


def in_pieces(chance: random.Random, masker: Masker, text: str) -> tuple[str, int]:
    """`text` streamed in random pieces: what came out, and the most that was held back."""
    stream, out, held, at = masker.stream(), "", 0, 0
    while at < len(text):
        size = chance.choice([1, 1, 2, 3, 5, 8, 20])
        out += stream.feed(text[at : at + size])
        at += size
        held = max(held, len(stream._held))
    return out + stream.finish(), held


@pytest.mark.parametrize("form", FORMS)
def test_of_a_thousand_planted_at_least_990_are_masked_whole_and_in_pieces(form: str) -> None:
    kind, make = FORMS[form]
    masker, chance = Masker(ALL), random.Random(form)
    found = 0
    for _ in range(1000):
        before, after = chance.choice(AROUND)
        planted = make(chance)
        wanted = f"{before}[{kind}]{after}"
        whole, (streamed, held) = masker.mask(before + planted + after), in_pieces(chance, masker, before + planted + after)
        assert streamed == whole
        assert held <= HELD
        found += whole == wanted
    assert found >= 990


@pytest.mark.parametrize(
    ("name", "make", "most"),
    [
        pytest.param("prices", lambda c: f"￥{c.randint(1, 99)},{digits(c, 3)}.{digits(c, 2)}", 0, id="prices"),
        pytest.param("serials", lambda c: f"{digits(c, 8)}{c.choice('ABCDEF')}{c.choice('XYZ')}", 0, id="serials: 8 digits 2 letters"),
        pytest.param("part", lambda c: f"PN{digits(c, 11)}", 0, id="part numbers with letters"),
        pytest.param(
            "dates", lambda c: f"2024-{c.randint(1, 12):02}-{c.randint(1, 28):02} {c.randint(10, 23)}:{c.randint(10, 59)}", 0, id="times"
        ),
        pytest.param("addresses", lambda c: f"192.168.{c.randint(0, 255)}.{c.randint(0, 255)}", 0, id="network addresses"),
        pytest.param("boxes", lambda c: f"[{c.randint(0, 1023)}, {c.randint(0, 1023)}, {c.randint(0, 1023)}]", 0, id="boxes"),
        pytest.param("orders", lambda c: f"20240315{digits(c, 12)}", 0, id="order numbers of 20 digits"),
        pytest.param("random 16", lambda c: c.choice("123456789") + digits(c, 15), 60, id="random numbers of 16 digits"),
        pytest.param("random 11", lambda c: c.choice("123456789") + digits(c, 10), 100, id="random numbers of 11 digits"),
    ],
)
def test_of_a_thousand_others_few_or_none_are_masked(name: str, make: Callable[[random.Random], str], most: int) -> None:
    """Where a form has no checksum (11 digits from 13…) or one in ten passes it, some must be; how many is known."""
    masker, chance = Masker(ALL), random.Random(name)
    masked = 0
    for _ in range(1000):
        text = f"编号 {make(chance)} 已登记"
        masked += masker.mask(text) != text
    assert masked <= most


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("13812345678 13912345678", "[phone] [phone]"),
        ("13812345678@qq.com", "[email]"),
        ("a@b", "a@b"),
        ("11010519491231002X", "[id_card]"),
        ("110105194912310021", "110105194912310021"),  # a wrong check character
        ("11010519490231002X", "11010519490231002X"),  # the 31st of February
        ("A123456(3), 123-45-6789, 000-45-6789", "[id_card], [id_card], 000-45-6789"),
        ("A123456(4)", "A123456(4)"),
        ("4111 1111 1111 1111 / 4111 1111 1111 1112", "[bank_card] / 4111 1111 1111 1112"),
        ("138123456789", "138123456789"),
        ("call +1-800-555-0199.", "call [phone]."),
        ("１３８ １２３４ ５６７８", "[phone]"),
    ],
)
def test_forms_and_their_neighbours(text: str, masked: str) -> None:
    assert Masker(ALL).mask(text) == masked


def test_only_the_kinds_asked_for_are_masked() -> None:
    text = "13812345678 a@example.com 4111111111111111 11010519491231002X"

    assert Masker(["email", "id_card"]).mask(text) == "13812345678 [email] 4111111111111111 [id_card]"
    assert Masker([]).mask(text) == text


likely = st.text(st.sampled_from("0123456789+-() .@aXＡ１，中A\n"), max_size=300)


@settings(deadline=None)  # the machine may be busy
@given(st.one_of(likely, st.text(max_size=300)), st.randoms(use_true_random=False))
def test_a_stream_is_the_same_however_it_is_cut(text: str, chance: random.Random) -> None:
    streamed, held = in_pieces(chance, Masker(ALL), text)

    assert streamed == Masker(ALL).mask(text)
    assert held <= HELD


@pytest.mark.parametrize("item", ["13812345678(", "ab@example.com(", "4111 1111 1111 1111 ", "+44 20 7946 0958 "])
def test_a_run_longer_than_may_be_held_back_is_never_cut_within_an_item(item: str) -> None:
    masker, text = Masker(ALL), item * 80
    whole = masker.mask(text)
    for size in (1, 7, 50, 400, 1000):
        stream = masker.stream()
        out = ""
        for at in range(0, len(text), size):
            out += stream.feed(text[at : at + size])
            assert len(stream._held) <= HELD
        assert out + stream.finish() == whole
    assert whole.count("[") == 80


def test_plain_words_are_given_on_as_they_end() -> None:
    """A stream must not wait for its end: at most the last word is held back, in Chinese nothing."""
    stream = Masker(ALL).stream()

    assert [stream.feed(piece) for piece in ("The defect", " is a scr", "atch，", "划痕", "明显")] == [
        "The ",
        "defect is a ",
        "scratch，",
        "划痕",
        "明显",
    ]


def test_masked_text_stays_as_it_is() -> None:
    once = Masker(ALL).mask("电话 13812345678，a@example.com")

    assert Masker(ALL).mask(once) == once


HOSTILE = [
    "1",
    "+",
    "@",
    "a@",
    "a@a.",
    "4111 ",
    "12 ",
    "+1 ",
    "+1-(2) ",
    "1.",
    "(",
    "A123456(",
    "138 1234 ",
    "a",
    "x@a.",
    ".@a.a",
    "１",
    "11010519491231002",
]


@pytest.mark.parametrize("piece", HOSTILE)
def test_hostile_text_takes_time_in_proportion_to_its_length(piece: str) -> None:
    """Four times the text takes about four times as long: nothing backtracks. CPU time, the best of three."""

    def took(size: int) -> float:
        text = piece * (size // len(piece))
        best = float("inf")
        for _ in range(3):
            began = time.process_time()
            Masker(ALL).mask(text)
            best = min(best, time.process_time() - began)
        return best

    assert took(100_000) <= 10 * took(25_000) + 0.02
