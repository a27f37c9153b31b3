"""Piling marks on a letter costs a text's length and no more, and texts that people write are left alone."""

import time
import unicodedata

import pytest

from sightline.wire.marks import MOST, is_stacked, unstacked

PILE = "\u0300\u0323"  # above and below: by the normal forms the second comes first
PILES = {
    "of two marks": PILE,
    "of halves of katakana": "\u0300\uff9e",
    "of marks in two parts": "\u0f73\u0f71",
    "of East Asian tones": "\U0001d165\u302e",
}


@pytest.mark.parametrize("pile", PILES.values(), ids=PILES.keys())
def test_a_pile_is_seen_and_cut_to_what_is_quickly_put_in_order(pile: str) -> None:
    text = "a" + pile * 100_000 + "b"
    began = time.perf_counter()

    assert is_stacked(text)
    assert unstacked(text) == "a" + (pile * MOST)[:MOST] + "b"
    assert len(unicodedata.normalize("NFKD", unstacked(text))) < 200
    assert time.perf_counter() - began < 2  # in order of their classes they would take minutes


@pytest.mark.parametrize("text", ["plain", "Zu\u0308rich", "が\u3099か\u3099", "Vie\u0323\u0302t", "a" + "\u0301" * MOST, "ก็ที่", ""])
def test_what_people_write_is_left_alone(text: str) -> None:
    assert not is_stacked(text)
    assert unstacked(text) == text
