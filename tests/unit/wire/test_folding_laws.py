"""Laws of folding and expanding, for any completion in the engine's shape and any batching."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from sightline.wire.folding import Fold, expand, fold, is_whole, restamp, stamp, unstamp

texts = st.text(max_size=40)
maybe_texts = st.none() | texts
calls = st.lists(
    st.builds(
        lambda call, name, arguments: {"id": call, "type": "function", "function": {"name": name, "arguments": arguments}},
        texts,
        texts,
        texts,
    ),
    max_size=3,
)
usages = st.fixed_dictionaries(
    {
        "prompt_tokens": st.integers(0, 9999),
        "total_tokens": st.integers(0, 9999),
        "completion_tokens": st.integers(0, 9999),
        "prompt_tokens_details": st.none() | st.fixed_dictionaries({"cached_tokens": st.none() | st.integers(0, 99)}),
        "completion_tokens_details": st.none() | st.fixed_dictionaries({"reasoning_tokens": st.integers(0, 99)}),
    }
)


@st.composite
def completions(draw: st.DrawFn) -> bytes:
    """Anything that the engine can send for one choice without log probabilities, in its order and with its nulls."""
    message: dict[str, Any] = {"role": draw(st.sampled_from(["assistant", "user", ""])), "content": draw(maybe_texts)}
    message |= {"refusal": draw(maybe_texts), "annotations": None, "audio": None, "function_call": None}
    if tool_calls := draw(calls):
        message["tool_calls"] = tool_calls
    message["reasoning"] = draw(maybe_texts)
    if (reasoning_content := draw(maybe_texts)) is not None:
        message["reasoning_content"] = reasoning_content
    choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": draw(st.sampled_from(["stop", "length", "tool_calls"]))}
    choice |= {"stop_reason": draw(st.none() | st.integers(0, 999) | texts), "token_ids": None, "routed_experts": None}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": draw(texts), "choices": [choice]}
    body |= {"service_tier": draw(st.sampled_from([None, "default"])), "system_fingerprint": draw(maybe_texts), "usage": draw(usages)}
    body |= {"prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None, "kv_transfer_params": None}
    body |= {"ec_transfer_params": None, "metrics": draw(st.none() | st.just({"queue_time": 0.5, "first": None}))}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


@given(completions())
def test_folding_undoes_expanding(completion: bytes) -> None:
    assert fold(expand(completion, id="chatcmpl-1", created=7)) == completion


@given(completions(), st.lists(st.integers(1, 4), min_size=12, max_size=12))
def test_batches_do_not_matter(completion: bytes, sizes: list[int]) -> None:
    events = expand(completion, id="x", created=1)
    folding, at = Fold(), 0
    for size in sizes:
        folding.add(events[at : at + size])
        at += size
    assert at >= len(events)
    assert folding.finish() == fold(events)


@given(completions(), st.data())
def test_a_stream_that_is_cut_short_or_repeated_folds_to_nothing(completion: bytes, data: st.DataObject) -> None:
    """Without its end or its usage, or with its end twice, there is no whole answer."""
    events = expand(completion, id="x", created=1)
    cut = data.draw(st.integers(0, len(events) - 1))
    assert fold(events[:cut]) is None
    assert fold((*events[:-1], *events[-2:])) is None


@given(completions(), st.integers(1, 2**40))
def test_a_stamp_changes_the_id_and_the_time_and_nothing_else(completion: bytes, created: int) -> None:
    fresh = restamp(completion, id="chatcmpl-new", created=created)
    assert json.loads(fresh) == json.loads(completion) | {"id": "chatcmpl-new", "created": created}
    assert stamp(unstamp(completion), id="chatcmpl-1", created=7) == completion


@given(completions())
def test_every_event_of_an_expansion_is_one_answer(completion: bytes) -> None:
    """Same id, time and model throughout; the role comes first, the finish reason last but for the usage."""
    body = json.loads(completion)
    chunks = [json.loads(event) for event in expand(completion, id="x", created=1)]
    assert {(chunk["id"], chunk["created"], chunk["model"], chunk["object"]) for chunk in chunks} == {
        ("x", 1, body["model"], "chat.completion.chunk")
    }
    assert chunks[0]["choices"][0]["delta"]["role"] == body["choices"][0]["message"]["role"]
    reasons = [choice["finish_reason"] for chunk in chunks for choice in chunk["choices"]]
    assert reasons == [None] * (len(chunks) - 2) + [body["choices"][0]["finish_reason"]]
    assert chunks[-1]["usage"] == body["usage"]


@given(st.binary(max_size=60) | completions().map(lambda body: body[: len(body) // 2]))
def test_bytes_that_are_no_answer_are_not_whole(data: bytes) -> None:
    assert not is_whole(data)
    assert fold([data]) is None


def _chunk(delta: dict[str, Any], *, ascii_only: bool, reason: str | None = None, **more: Any) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason, "token_ids": None}
    body = {"id": "c", "object": "chat.completion.chunk", "created": 7, "model": "m", "choices": [] if more else [choice]} | more
    return json.dumps(body, ensure_ascii=ascii_only, separators=(",", ":")).encode()


# What a text may look like in JSON: quotes, escapes, half an escape at its end, the frame of a chunk itself.
awkward = st.text(alphabet='ab"\\/\n\u00e9\u4e2d\U0001f600{}:,', max_size=12) | st.sampled_from(
    ['"},"logprobs":null', '"delta":{"content":"', "\\"]
)


@given(st.lists(st.tuples(awkward, st.booleans()), min_size=1, max_size=20), st.integers(-1, 19))
def test_a_text_in_pieces_folds_to_that_text(pieces: list[tuple[str, bool]], thought: int) -> None:
    """However it was cut and escaped, and whatever else is said between two pieces of it."""
    events = [_chunk({"role": "assistant", "content": ""}, ascii_only=False)]
    for number, (text, ascii_only) in enumerate(pieces):
        events.append(_chunk({"content": text}, ascii_only=ascii_only))
        if number == thought:
            events.append(_chunk({"reasoning": "hm"}, ascii_only=ascii_only))
    events += [_chunk({}, ascii_only=False, reason="stop"), _chunk({}, ascii_only=False, usage={"prompt_tokens": 1})]

    message = json.loads(fold(events) or b"")["choices"][0]["message"]

    assert message["content"] == "".join(text for text, _ in pieces)
    assert message["reasoning"] == ("hm" if 0 <= thought < len(pieces) else None)
