"""Personal data made up, what only looks like it, and text that is made to cost: for the tests of masking, and for its figures."""

import random
import string
from collections.abc import Callable

from sightline.limits.keyfile import Masked
from sightline.limits.masking import Masker

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


# What is none of these, by name: how it is made, and how many of a thousand may pass for one. Where a form has no checksum (11 digits from
# 13…) or one in ten passes it, some must.
OTHERS: dict[str, tuple[Callable[[random.Random], str], int]] = {
    "prices": (lambda c: f"￥{c.randint(1, 99)},{digits(c, 3)}.{digits(c, 2)}", 0),
    "serial numbers: 8 digits, 2 letters": (lambda c: f"{digits(c, 8)}{c.choice('ABCDEF')}{c.choice('XYZ')}", 0),
    "part numbers with letters": (lambda c: f"PN{digits(c, 11)}", 0),
    "times": (lambda c: f"2024-{c.randint(1, 12):02}-{c.randint(1, 28):02} {c.randint(10, 23)}:{c.randint(10, 59)}", 0),
    "network addresses": (lambda c: f"192.168.{c.randint(0, 255)}.{c.randint(0, 255)}", 0),
    "boxes": (lambda c: f"[{c.randint(0, 1023)}, {c.randint(0, 1023)}, {c.randint(0, 1023)}]", 0),
    "order numbers of 20 digits": (lambda c: f"20240315{digits(c, 12)}", 0),
    "random numbers of 16 digits": (lambda c: c.choice("123456789") + digits(c, 15), 60),
    "random numbers of 11 digits": (lambda c: c.choice("123456789") + digits(c, 10), 100),
}

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
