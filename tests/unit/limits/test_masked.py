"""A reply is masked alike whole and streamed, and nothing of its text is lost on the way."""

import json
import random
from typing import Any

import pytest
from tests.fakes.pouring import Reader, chunks_of

from sightline.errors import EngineError
from sightline.limits.masked import masked
from sightline.limits.masking import Masker
from sightline.wire.reply import Batch, Sink, Told, Whole
from sightline.wire.sse import batch_of, frame

MASKER = Masker(["phone", "email"])
TEXT = "客户 13812345678 wrote from bob@example.com about 19.99"
MASKED = "客户 [phone] wrote from [email] about 19.99"


def chunk(delta: dict[str, Any], finish: str | None = None, index: int = 0, **more: Any) -> bytes:
    choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": finish} | more
    return json.dumps({"id": "c", "model": "m", "choices": [choice]}).encode()


async def deltas(chunks: list[bytes]) -> list[dict[str, Any]]:
    said = b"".join(map(frame, chunks))
    stream = masked(Told(Batch(said, said)), MASKER)
    assert not isinstance(stream, Whole)
    return [json.loads(data)["choices"][0] for data in await chunks_of(stream)]


def text(choices: list[dict[str, Any]], field: str = "content") -> str:
    return "".join(choice["delta"].get(field) or "" for choice in choices)


def whole(message: dict[str, Any], **more: Any) -> bytes:
    return json.dumps(
        {"choices": [{"index": 0, "message": message, "finish_reason": "stop"} | more], "usage": {"total_tokens": 3}}
    ).encode()


def body(reply: object) -> dict[str, Any]:
    assert isinstance(reply, Whole)
    found: dict[str, Any] = json.loads(reply.body)
    return found


@pytest.mark.parametrize("field", ["content", "reasoning_content", "refusal"])
def test_a_whole_answer_is_masked_and_keeps_the_rest(field: str) -> None:
    found = body(masked(Whole(whole({"role": "assistant", field: TEXT})), MASKER))

    assert found["choices"][0]["message"] == {"role": "assistant", field: MASKED}
    assert found["usage"] == {"total_tokens": 3}


def test_a_whole_answer_without_personal_data_is_the_same_byte_for_byte() -> None:
    reply = Whole(b'{ "choices": [{"message": {"content": "fine"}}] }')

    assert masked(reply, MASKER) == reply


@pytest.mark.parametrize(
    "spelt", [{"logprobs": {"content": [{"token": "13812345678"}]}}, {"token_ids": [1, 3, 8]}], ids=lambda one: next(iter(one))
)
async def test_nothing_spells_it_out(spelt: dict[str, Any]) -> None:
    (name,) = spelt
    found = body(masked(Whole(whole({"content": "x"}, **spelt)), MASKER))
    (streamed,) = await deltas([chunk({"content": "x"}, "stop", **spelt)])

    assert found["choices"][0][name] is None
    assert streamed[name] is None


@pytest.mark.parametrize("seed", range(20))
async def test_a_stream_says_the_same_as_the_whole_however_it_is_cut(seed: int) -> None:
    chance = random.Random(seed)
    pieces, at = [], 0
    while at < len(TEXT):
        size = chance.randint(1, 7)
        pieces.append(TEXT[at : at + size])
        at += size

    choices = await deltas([chunk({"role": "assistant"}), *[chunk({"content": piece}) for piece in pieces], chunk({}, "stop")])

    assert text(choices) == MASKED
    assert choices[-1]["finish_reason"] == "stop"


async def test_what_is_held_back_comes_even_without_a_finish_reason() -> None:
    choices = await deltas([chunk({"content": "call 138"}), chunk({"content": "12345678"})])

    assert text(choices) == "call [phone]"


async def test_arguments_of_tool_calls_are_masked_call_by_call() -> None:
    def call(index: int, arguments: str) -> dict[str, Any]:
        return {"tool_calls": [{"index": index, "function": {"arguments": arguments}}]}

    events = [chunk(call(0, '{"tel": "138')), chunk(call(1, '{"tel": "139')), chunk(call(0, '12345678"}')), chunk(call(1, '12345678"}'))]
    choices = await deltas([*events, chunk({}, "tool_calls")])

    said = {0: "", 1: ""}
    for choice in choices:
        for part in choice["delta"].get("tool_calls", ()):
            said[part["index"]] += part["function"]["arguments"]
    assert said == {0: '{"tel": "[phone]"}', 1: '{"tel": "[phone]"}'}


class _Failing:
    """A stream that breaks after its first chunk."""

    def __init__(self) -> None:
        self.closed = False

    async def pour(self, into: Sink) -> None:
        into(batch_of(chunk({"content": "call 138"})))
        raise EngineError("The engine broke off.")

    async def aclose(self) -> None:
        self.closed = True


async def test_a_failure_passes_through_and_closing_closes() -> None:
    inner = _Failing()
    stream = masked(inner, MASKER)
    assert not isinstance(stream, Whole)
    reader = Reader(stream)

    assert await reader.read()
    with pytest.raises(EngineError):
        await reader.read()
    await reader.leave()

    assert inner.closed


ODD = {
    "choices that are no list": {"choices": {"message": {"content": TEXT}}},
    "a choice that is no object": {"choices": [TEXT]},
    "a message that is a list": {"choices": [{"message": [TEXT], "delta": [TEXT]}]},
    "content in parts": {"choices": [{"message": {"content": [{"text": TEXT}]}, "delta": {"content": [{"text": TEXT}]}}]},
    "tool calls that are no list": {"choices": [{"message": {"tool_calls": {"a": TEXT}}, "delta": {"tool_calls": {"a": TEXT}}}]},
    "a text where none is known": {"choices": [{"message": {"annotations": [TEXT]}, "delta": {"annotations": [TEXT]}}]},
    "a choice with more": {"choices": [{"text": TEXT, "message": {}, "delta": {}}]},
    "a call of another kind": {"choices": [{field: {"tool_calls": [{"custom": {"input": TEXT}}]} for field in ("message", "delta")}]},
    "arguments as an object": {
        "choices": [{field: {"tool_calls": [{"function": {"arguments": {"a": TEXT}}}]} for field in ("message", "delta")}]
    },
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
async def test_a_shape_that_cannot_be_searched_is_an_error_and_not_told(odd: dict[str, Any]) -> None:
    data = json.dumps(odd).encode()
    with pytest.raises(EngineError, match="personal data"):
        masked(Whole(data), MASKER)
    with pytest.raises(EngineError, match="personal data"):
        await deltas([data])


@pytest.mark.parametrize(
    "data", [b'{"choices":[{"delta":{"content":"\xff"}}]}', b"[" * 100_000, b"[]", b"\xff"], ids=["text", "nested", "list", "bytes"]
)
async def test_so_is_what_cannot_be_read(data: bytes) -> None:
    with pytest.raises(EngineError, match="personal data"):
        masked(Whole(data), MASKER)
    with pytest.raises(EngineError, match="personal data"):
        await deltas([data])


async def test_what_is_held_back_is_told_where_the_last_delta_has_nulls() -> None:
    """Of a call whose arguments could still have become personal, at an end that names calls and has none."""
    arguments = {"index": 0, "function": {"arguments": '{"to": "138'}}
    choices = await deltas([chunk({"tool_calls": [arguments]}), chunk({"content": None, "tool_calls": None}, "tool_calls")])
    said = [call["function"]["arguments"] for choice in choices for call in choice["delta"]["tool_calls"]]
    assert "".join(said) == '{"to": "138'


async def test_so_is_an_index_that_is_no_number() -> None:
    with pytest.raises(EngineError, match="personal data"):
        await deltas([chunk({"content": TEXT}, index=["0"])])  # type: ignore[arg-type]
