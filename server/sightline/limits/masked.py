"""Personal data taken out of a reply on its way to the client, whole or streamed, kept or fresh. What is kept is the original.

Masked are the texts a reader sees (content, reasoning, refusal) and the arguments of tool calls. Log probabilities spell the text out
token by token, so they are left out.
"""

from collections.abc import Iterator
from typing import Any, Self

import msgspec

from sightline.limits.masking import MaskedText, Masker
from sightline.wire.reply import Event, Kind, Reply, Stream, Whole

TEXTS = ("content", "reasoning_content", "reasoning", "refusal")

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def masked(reply: Reply, masker: Masker) -> Reply:
    """`reply` without personal data, byte for byte the same where there is none in it."""
    return MaskedStream(reply, masker) if not isinstance(reply, Whole) else Whole(_masked_body(reply.body, masker))


def _masked_body(body: bytes, masker: Masker) -> bytes:
    completion = _decode(body)
    changed = False
    for choice in completion.get("choices", ()):
        for holder, field in _texts(choice.get("message") or {}):
            plain = masker.mask(holder[field])
            changed = changed or plain != holder[field]
            holder[field] = plain
        changed = changed or choice.get("logprobs") is not None
        choice["logprobs"] = None
    return _encode(completion) if changed else body


class MaskedStream:
    """A stream whose texts come a little later: what could still become personal is held back, a few hundred characters at most."""

    def __init__(self, stream: Stream, masker: Masker) -> None:
        self._stream = stream
        self._masker = masker
        self._open: dict[tuple[int, str, int], MaskedText] = {}  # by choice, field, and tool call (-1 for none)
        self._last: dict[str, Any] = {}

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Event, ...]:
        try:
            batch = await anext(self._stream)
        except StopAsyncIteration:
            if self._open and self._last:  # it ended without a finish_reason: what is held back still belongs to it
                return (Event(Kind.DELTA, _encode(self._rest())),)
            raise
        return tuple([self._mask(event) if event.kind is Kind.DELTA else event for event in batch])

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _mask(self, event: Event) -> Event:
        chunk = _decode(event.data)
        self._last = {name: value for name, value in chunk.items() if name not in {"choices", "usage"}}
        for choice in chunk.get("choices", ()):
            index, delta = choice.get("index", 0), choice.get("delta") or {}
            for holder, field in _texts(delta):
                tool = -1 if holder is delta else _tool_index(delta, holder)
                text = self._open.setdefault((index, field, tool), self._masker.stream())
                holder[field] = text.feed(holder[field])
            if choice.get("logprobs") is not None:
                choice["logprobs"] = None
            if choice.get("finish_reason") is not None:
                choice["delta"] = delta
                self._finish(index, delta)
        return Event(Kind.DELTA, _encode(chunk))

    def _finish(self, index: int, delta: dict[str, Any]) -> None:
        """Adds what was held back of one choice to its last delta."""
        for key in [key for key in self._open if key[0] == index]:
            _, field, tool = key
            rest = self._open.pop(key).finish()
            if not rest:
                continue
            if tool < 0:
                delta[field] = (delta.get(field) or "") + rest
            else:
                delta.setdefault("tool_calls", []).append({"index": tool, "function": {"arguments": rest}})

    def _rest(self) -> dict[str, Any]:
        choices = []
        for index in sorted({key[0] for key in self._open}):
            delta: dict[str, Any] = {}
            self._finish(index, delta)
            choices.append({"index": index, "delta": delta, "logprobs": None, "finish_reason": None})
        return self._last | {"choices": choices}


def _texts(message: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where the texts of a message or delta stand: (object, field)."""
    for field in TEXTS:
        if isinstance(message.get(field), str):
            yield message, field
    for call in message.get("tool_calls") or ():
        function = call.get("function") or {}
        if isinstance(function.get("arguments"), str):
            yield function, "arguments"


def _tool_index(delta: dict[str, Any], function: dict[str, Any]) -> int:
    return next(int(call.get("index", place)) for place, call in enumerate(delta["tool_calls"]) if call.get("function") is function)
