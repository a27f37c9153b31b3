"""A picture goes by its name to an engine that has it, and with its bytes to one that has let go of it."""

from sightline.engines.reuse import Reuse, is_miss
from sightline.errors import EngineRefused


def test_only_what_was_answered_about_is_known() -> None:
    reuse = Reuse()
    assert reuse.known(["a"], 0) == frozenset()
    reuse.answered(["a"], reused=False)
    assert reuse.known(["a", "b"], 0) == {"a"}


def test_a_picture_that_is_gone_is_sent_again() -> None:
    reuse = Reuse()
    reuse.answered(["a", "b"], reused=False)
    reuse.missed(["a"], 0)
    assert reuse.known(["a", "b"], 0) == {"b"}


def test_an_engine_that_keeps_nothing_is_sent_bytes_for_a_minute() -> None:
    reuse = Reuse()
    for _ in range(3):
        reuse.answered(["a"], reused=False)
        reuse.missed(["a"], 100)
    reuse.answered(["a"], reused=False)
    assert reuse.known(["a"], 159) == frozenset()
    assert reuse.known(["a"], 160) == {"a"}


def test_one_miss_now_and_then_changes_nothing() -> None:
    reuse = Reuse()
    for _ in range(10):
        reuse.answered(["a"], reused=False)
        reuse.missed(["a"], 0)
        reuse.answered(["a"], reused=False)
        reuse.answered(["a"], reused=True)
    assert reuse.known(["a"], 0) == {"a"}


def test_only_vllms_word_for_it_is_a_miss() -> None:
    said = "Cache miss for image at index 0 but data is not provided."
    assert is_miss(EngineRefused(said, status=400, code="invalid_value"))
    assert not is_miss(EngineRefused("Bad picture.", status=400, code="invalid_value"))
