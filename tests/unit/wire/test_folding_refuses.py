"""Exactly or not at all: what is not known to fold the same both ways is not folded, not expanded and not kept."""

import json
from typing import Any

import pytest
from tests.unit.answers.rig import chunk, chunks, completion

from sightline.wire.folding import NotExpandable, expand, fold, is_whole

SAID = chunks("ok")


def with_choice(**changes: Any) -> bytes:
    body = json.loads(SAID[1])
    body["choices"][0] |= changes
    return json.dumps(body).encode()


def with_fields(**changes: Any) -> bytes:
    return json.dumps(json.loads(SAID[1]) | changes).encode()


ODD = {
    "unknown delta field": chunk({"content": "x", "citations": [1]}),
    "unknown choice field": with_choice(novelty=1),
    "unknown chunk field": with_fields(novelty=1),
    "log probabilities": with_choice(logprobs={"content": []}),
    "token ids": with_choice(token_ids=[1]),
    "prompt ids": with_fields(prompt_token_ids=[1]),
    "another choice": with_choice(index=1),
    "two choices": with_fields(choices=json.loads(SAID[1])["choices"] * 2),
    "another answer's id": with_fields(id="chatcmpl-2"),
    "another model": with_fields(model="other"),
    "another role": chunk({"role": "user"}),
    "error event": b'{"error": {"message": "no"}}',
    "not JSON": b"<html>",
    "tool call out of order": chunk({"tool_calls": [{"index": 1, "id": "a", "function": {"name": "f"}}]}),
    "tool call without a name": chunk({"tool_calls": [{"index": 0, "id": "a", "function": {"arguments": "{}"}}]}),
    "custom tool call": chunk({"tool_calls": [{"index": 0, "id": "a", "type": "custom", "function": {"name": "f"}}]}),
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_a_stream_with_something_odd_in_it_is_not_folded(odd: bytes) -> None:
    assert fold(SAID) is not None
    assert fold((*SAID[:2], odd, *SAID[2:])) is None


def test_nulls_are_nothing() -> None:
    """A field that is not known but null says nothing, so an engine's next version does not turn the cache off."""
    assert fold((*SAID[:2], with_fields(novelty=None, choices=[]), *SAID[2:])) == fold(SAID)


@pytest.mark.parametrize("missing", [0, -1, -2], ids=["role", "usage", "end"])
def test_a_stream_that_lacks_something_is_not_folded(missing: int) -> None:
    said = list(SAID)
    del said[missing]
    assert fold(said) is None


def test_text_after_the_end_is_not_folded() -> None:
    assert fold((*SAID[:-1], SAID[1], SAID[-1])) is None


def test_a_text_that_is_said_twice_is_the_last() -> None:
    """Of two members with one name JSON takes the last, and so does the fold: by what stands round the first, nothing is known."""
    twice = [SAID[1].replace(b'"content":"o"', b'"content":"%b","content":"o"' % first) for first in (b"o", b"x")]
    assert fold([SAID[0], *twice, *SAID[3:]]) == fold([SAID[0], SAID[1], SAID[1], *SAID[3:]])


@pytest.mark.parametrize("reason", ["length", "content_filter", "abort", "error"])
def test_an_answer_that_was_cut_off_is_not_whole(reason: str) -> None:
    assert is_whole(completion("ok"))
    assert not is_whole(completion("ok", finish_reason=reason))


@pytest.mark.parametrize(
    "body",
    [
        completion("ok", audio={"id": "a"}),
        completion("ok", annotations=[{"type": "url_citation"}]),
        completion("ok").replace(b'"logprobs":null', b'"logprobs":{"content":[]}'),
        completion("ok").replace(b'"metrics":null', b'"error":{"message":"no"}'),
        completion("ok").replace(b'"kv_transfer_params":null', b'"kv_transfer_params":{"block":1}'),
        completion("ok").replace(b'"choices":[', b'"choices":[{"index":0,"message":{"role":"a"},"finish_reason":"stop"},'),
        completion("ok").replace(b'"choices":[', b'"choices":[],"other":['),
        b'{"error":{"message":"no","type":"server_error"}}',
        b"[" * 100_000,
        b"",
    ],
    ids=["audio", "annotations", "logprobs", "error", "kv", "two choices", "other", "only an error", "nested", "empty"],
)
def test_a_completion_that_chunks_cannot_carry_is_refused(body: bytes) -> None:
    assert not is_whole(body)
    with pytest.raises(NotExpandable):
        expand(body, id="x", created=1)
