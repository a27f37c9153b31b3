"""Events come out of a stream whole and the same, however the network cut it and in whatever form the standard allows."""

from collections.abc import Iterable
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sightline.wire import sse
from sightline.wire.alike import Alike
from sightline.wire.reply import Batch

CHUNK = '{"choices":[{"delta":{"content":"ü"}}]}'.encode()
USAGE = b'{"choices":[],"usage":{}}'
FORMS = {
    "common": b"data: %b\n\ndata: [DONE]\n\n",
    "CRLF": b"data: %b\r\n\r\ndata: [DONE]\r\n\r\n",
    "CR": b"data: %b\r\rdata: [DONE]\r\r",
    "no space": b"data:%b\n\ndata:[DONE]\n\n",
    "comments and fields": b": hi\n\nevent: x\nid: 1\ndata: %b\nretry: 1\n\n: x\ndata: [DONE]\n\n",
}


def read(pieces: Iterable[bytes]) -> list[Batch]:
    """All that a stream in `pieces` says, which is to be done then."""
    reader = sse.Reader()
    found = [batch for piece in pieces if not reader.done and (batch := reader.feed(piece)) is not None]
    assert reader.done
    return found


def cut(data: bytes, at: list[int]) -> list[bytes]:
    places = [0, *sorted(at), len(data)]
    return [data[start:end] for start, end in pairwise(places)]


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(cuts=st.lists(st.integers(0, 120), max_size=12))
def test_cuts_do_not_matter(form: bytes, cuts: list[int]) -> None:
    assert read(cut(form % CHUNK, cuts)) == [sse.batch_of(CHUNK)]


def test_several_data_lines_are_one_payload() -> None:
    """Joined by a space: a line's end within JSON is white space, and what we write has one data line an event."""
    assert read([b'data: {"choices":\ndata: [1]}\n\ndata: [DONE]\n\n']) == [sse.batch_of(b'{"choices": [1]}')]


def test_an_event_without_end_is_refused_and_not_gathered_for_ever() -> None:
    reader = sse.Reader()
    assert reader.feed(b"x" * sse.MAX_EVENT_BYTES) is None
    assert reader.failure is None
    assert reader.feed(b"x") is None
    assert reader.failure is not None


def test_nothing_is_lost_and_the_order_stays() -> None:
    """Whatever an engine says without choices: the last of it counts as the usage, all of it goes to those who asked for that."""
    said = [b'{"choices":[],"usage":null}', CHUNK, USAGE, CHUNK]
    found = sse.Reader().feed(b"".join(map(sse.frame, said)))
    assert found is not None
    assert sse.payloads(found.events) == said
    assert sse.payloads(found.deltas) == [CHUNK, CHUNK]
    assert found.usage == USAGE


def test_the_usage_is_for_those_who_asked_for_it() -> None:
    both = sse.batch_of(CHUNK, usage=USAGE)
    assert sse.payloads(both.events) == [CHUNK, USAGE]
    assert sse.payloads(both.deltas) == [CHUNK]
    assert both.usage == USAGE
    assert sse.batch_of(CHUNK) == Batch(sse.frame(CHUNK), sse.frame(CHUNK))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"error":{"message":"secret"}}',
        b'{"object":"error","choices":[]}',
        b"{}",
        b"<html>",
        b"\xff",
        b"[1]",
        b'{"choices":' + b"[" * 100_000,
    ],
    ids=["error", "error by name", "nothing", "page", "bytes", "list", "nested"],
)
def test_what_is_no_chunk_is_the_engines_failure_and_its_text_stays_here(payload: bytes) -> None:
    reader = sse.Reader()
    assert reader.feed(sse.frame(payload)) is None
    assert reader.failure is not None
    assert "secret" not in reader.failure.message


def test_what_came_before_a_failure_is_given_out_before_it() -> None:
    reader = sse.Reader()
    assert reader.feed(sse.frame(CHUNK) + sse.frame(b"<html>") + sse.frame(CHUNK)) == sse.batch_of(CHUNK)
    assert reader.failure is not None


# ── chunks that are like the one before them are not parsed ────────────────────────────────────────────────────────────────────────

SAID = '{"id":"c","choices":[{"index":0,"delta":{"content":"%s"},"finish_reason":null}]}'
# What could pass for a text and is none: the end of a string, half an escape, another event, the frame itself.
AWKWARD = [
    '"',
    "\\",
    '\\"',
    "\\\\",
    "\n\n",
    "\r",
    "\x00",
    '","role":"x',
    '"},"delta":{"content":"',
    "\n\ndata: [DONE]\n\n",
    "\\u00",
    "\\ud83d",
    "\\ude00",
    "é",
]
texts = st.lists(st.sampled_from(["a", " b", *AWKWARD]), max_size=4).map("".join)


@given(st.lists(texts, min_size=2, max_size=6))
@example(["a", '"}}],"error":{"message":"'])
@example(["a", "\\ud83d"])
@example(['\\"', '"'])
def test_they_are_what_a_reader_that_parses_each_would_find(said: list[str]) -> None:
    """Told apart by a reader of its own for each, to whom nothing is like anything."""
    reader = sse.Reader()
    for text in said:
        piece = sse.frame((SAID % text).encode())
        fresh = sse.Reader()
        assert _outcome(reader, piece) == _outcome(fresh, piece)
        if reader.done or reader.failure is not None:
            return
        if "\n" in text or "\r" in text:  # half an event may be left, of which what comes next is the rest
            return


def _outcome(reader: sse.Reader, piece: bytes) -> object:
    return reader.feed(piece), reader.done, reader.failure and reader.failure.message


def test_one_that_is_cut_short_is_like_no_other() -> None:
    """Its beginning and its end share the quote that should open the text and the one that should close it."""
    reader = sse.Reader()
    whole = sse.frame((SAID % "").encode())
    reader.feed(whole)
    assert reader.feed(whole.replace(b'"content":""', b'"content":"')) is None
    assert reader.failure is not None


def test_one_that_ends_what_was_begun_before_is_like_no_other() -> None:
    reader = sse.Reader()
    whole = sse.frame((SAID % "first").encode())
    reader.feed(whole)
    reader.feed(b"data: [1,\n")
    assert reader.feed(whole) is None
    assert reader.failure is not None


@pytest.mark.parametrize("other", ["first", "", "ü", "\\n", "a\\tb", " "])
def test_a_text_may_be_any(other: str) -> None:
    reader = sse.Reader()
    reader.feed(sse.frame((SAID % "first").encode()))
    piece = sse.frame((SAID % other).encode())
    assert reader.feed(piece) == Batch(piece, piece)


def test_a_chunk_that_says_its_text_twice_is_like_no_other() -> None:
    """Of two members with one name JSON takes the last: which of the two texts counts is nothing to guess at."""
    twice = '{"id":"c","choices":[{"index":0,"delta":{"content":"a"},"delta":{"content":"a"}}]}'
    assert Alike.of(twice.encode()) is None
