"""A word of the list is found however it is written, and not where it is a part of another."""

import time
from pathlib import Path

import pytest

from sightline.errors import InvalidRequest
from sightline.limits.words import WordList
from sightline.settings import SettingsError

WORDS = WordList(["badword", "two words", "违禁词", "Café"])


@pytest.mark.parametrize(
    "text",
    [
        "a badword here",
        "BADWORD",
        "ｂａｄｗｏｒｄ",
        "bad\u200bword",
        "bad\u00adword!",
        "(badword)",
        "这是badword吗",
        "two words",
        "含有违禁词的问题",
        "违\u200b禁词",
        "CAFE\u0301",
        "cafe",
    ],
)
def test_a_word_is_found_however_it_is_written(text: str) -> None:
    assert text in WORDS


@pytest.mark.parametrize("text", ["", "badwords", "abadword", "badword2", "bad word", "twowords", "违禁", "cafeteria"])
def test_a_part_of_another_word_is_not_the_word(text: str) -> None:
    assert text not in WORDS


def test_a_request_with_one_is_refused_for_good_without_naming_it() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        WORDS.check(["fine", "a badword"])

    assert (refusal.value.status, refusal.value.code, refusal.value.should_retry) == (400, "content_policy_violation", False)
    assert "badword" not in refusal.value.message


def test_a_request_without_any_passes() -> None:
    WORDS.check(["What does the label say?", "标签上写着什么？"])


def test_a_list_is_read_from_a_file_with_comments(tmp_path: Path) -> None:
    file = tmp_path / "words.txt"
    file.write_text("\ufeff# not these\n\nbadword  # why\n违禁词\n")

    words = WordList.read(file)

    assert "badword" in words
    assert "违禁词" in words
    assert "why" not in words


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), (b"\xff\xfe", "not UTF-8"), (b"# none\n\n", "holds no words")])
def test_a_wrong_file_is_an_error_that_names_the_setting(tmp_path: Path, content: bytes | None, says: str) -> None:
    file = tmp_path / "words.txt"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(SettingsError, match=rf"safety\.words_file: .*{says}"):
        WordList.read(file)


def test_ten_thousand_words_and_hostile_text_take_time_in_proportion_to_the_text() -> None:
    words = WordList(["a" * length + "b" for length in range(1, 200)] + [f"word{i}" for i in range(10_000)])

    def took(size: int) -> float:
        text = "a" * size
        began = time.process_time()
        assert text not in words
        return time.process_time() - began

    assert min(took(400_000) for _ in range(3)) <= 10 * min(took(100_000) for _ in range(3)) + 0.02


@pytest.mark.parametrize("pile", ["\u0300\u0323", "\u302e\u200d\U0001d16d\u200d"], ids=["unseen", "seen, with joiners between"])
def test_marks_piled_on_a_letter_take_no_longer_than_other_text(pile: str) -> None:
    began = time.process_time()

    assert "a" + pile * 100_000 not in WordList(["word"])
    assert time.process_time() - began < 5  # put in order they would take minutes
