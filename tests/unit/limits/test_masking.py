"""Personal data is taken out of answers, however they come in pieces; what only looks like it stays."""

import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.personal import ALL, AROUND, FORMS, HOSTILE, OTHERS, in_pieces

from sightline.limits.masking import HELD, Masker


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


@pytest.mark.parametrize("name", OTHERS)
def test_of_a_thousand_others_few_or_none_are_masked(name: str) -> None:
    make, most = OTHERS[name]
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
