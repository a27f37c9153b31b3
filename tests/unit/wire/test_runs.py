"""Base64 that comes again is known by its bytes, all of them, and held within bounds."""

import base64
import os

from sightline.wire.runs import Runs

RUN = base64.b64encode(os.urandom(1500))


def test_from_its_second_coming_on_a_run_is_the_same_object() -> None:
    runs, data = Runs(10_000), b"head" + RUN + b"tail"
    end = 4 + len(RUN)

    assert runs.find(data, 4, end) is None
    second = runs.find(bytearray(data), 4, end)
    assert second is not None
    assert second.data == RUN
    assert runs.find(b"another " + RUN, 8, 8 + len(RUN)) is second


def test_one_other_byte_is_another_run() -> None:
    runs = Runs(10_000)
    for _ in range(2):
        runs.find(RUN, 0, len(RUN))
    for place in (0, 7, 500, 1500):  # none of them in the sample
        other = RUN[:place] + bytes([RUN[place] ^ 128]) + RUN[place + 1 :]
        assert runs.find(other, 0, len(other)) is None
        assert runs.find(other, 0, len(other)) is None  # nor does it take the other's place


def test_what_came_longest_ago_leaves() -> None:
    runs = Runs(6000)
    many = [base64.b64encode(os.urandom(1500)) for _ in range(3)]
    for run in many:
        for _ in range(2):
            runs.find(run, 0, 2000)

    assert [runs.find(run, 0, 2000) is not None for run in reversed(many)] == [True, True, False]


def test_what_is_noted_of_a_run_is_there_the_next_time() -> None:
    runs = Runs(10_000)
    runs.find(RUN, 0, len(RUN))
    first = runs.find(RUN, 0, len(RUN))
    assert first is not None
    first.notes["seen"] = 1
    again = runs.find(RUN, 0, len(RUN))
    assert again is not None
    assert again.notes == {"seen": 1}


def test_a_run_with_an_escape_is_none() -> None:
    """Its bytes are not what it says, so it is never known again."""
    runs, escaped = Runs(10_000), RUN[:900] + b"\\/" + RUN[900:]
    assert [runs.find(escaped, 0, len(escaped)) for _ in range(3)] == [None, None, None]
