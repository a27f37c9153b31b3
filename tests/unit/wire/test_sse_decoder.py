"""Events come out of a stream whole and the same, however the network cut it and in whatever form the standard allows."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sightline.errors import EngineError
from sightline.wire import sse
from sightline.wire.reply import Kind

FORMS = {
    "common": b'data: {"a":"\xc3\xbc"}\n\ndata: [DONE]\n\n',
    "CRLF": b'data: {"a":"\xc3\xbc"}\r\n\r\ndata: [DONE]\r\n\r\n',
    "CR": b'data: {"a":"\xc3\xbc"}\r\rdata: [DONE]\r\r',
    "no space": b'data:{"a":"\xc3\xbc"}\n\ndata:[DONE]\n\n',
    "comments and fields": b': hi\n\nevent: x\nid: 1\ndata: {"a":"\xc3\xbc"}\nretry: 1\n\n: x\ndata: [DONE]\n\n',
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
@given(cuts=st.lists(st.integers(0, 80), max_size=12))
def test_cuts_do_not_matter(form: bytes, cuts: list[int]) -> None:
    decoder, found, at = sse.Decoder(), [], 0
    for cut in [*sorted(cuts), len(form)]:
        found += decoder.feed(form[at:cut])
        at = max(at, cut)
    assert found == [b'{"a":"\xc3\xbc"}', b"[DONE]"]


def test_several_data_lines_are_one_payload() -> None:
    """Joined by a space: a line's end within JSON is white space, and what we write has one data line an event."""
    assert sse.Decoder().feed(b'data: {"a":\ndata: 1}\n\n') == [b'{"a": 1}']


def test_an_event_without_end_is_refused_and_not_gathered_for_ever() -> None:
    decoder = sse.Decoder()
    decoder.feed(b"x" * sse.MAX_EVENT_BYTES)
    with pytest.raises(EngineError):
        decoder.feed(b"x")


@pytest.mark.parametrize(("payload", "kind"), [(b'{"choices":[{"delta":{}}]}', Kind.DELTA), (b'{"choices":[],"usage":{}}', Kind.USAGE)])
def test_a_chunk_is_known_by_its_choices(payload: bytes, kind: Kind) -> None:
    assert sse.event(payload) == (kind, payload)


@pytest.mark.parametrize(
    "payload", [b'{"error":{"message":"secret"}}', b'{"object":"error","choices":[]}', b"{}", b"<html>", b"\xff", b"[1]"]
)
def test_what_is_no_chunk_is_the_engines_failure_and_its_text_stays_here(payload: bytes) -> None:
    with pytest.raises(EngineError) as failed:
        sse.event(payload)
    assert "secret" not in failed.value.message
