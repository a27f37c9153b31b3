"""Personal data taken out of a reply on its way to the client, whole or streamed, kept or fresh. What is kept is the original.

Masked are the texts a reader sees (content, reasoning, refusal) and the arguments of tool calls. Log probabilities spell the text out
token by token, so they are left out.
"""

from collections.abc import Iterator
from typing import Any

import msgspec

from sightline.errors import EngineError
from sightline.limits.masking import MaskedText, Masker
from sightline.wire.reply import UNREADABLE, Batch, Reply, Sink, Stream, Whole, hand
from sightline.wire.sse import batch_of, payloads

_ODD = "The engine's answer is not shaped like a completion, so it cannot be searched for personal data."

TEXTS = ("content", "reasoning_content", "reasoning", "refusal")
_MESSAGE = frozenset({*TEXTS, "role", "tool_calls"})  # what a message or delta may hold; anything else could be a text too
_CALL = frozenset({"index", "id", "type", "function"})
_FUNCTION = frozenset({"name", "arguments"})
_CHOICE = frozenset({"index", "message", "delta", "finish_reason", "stop_reason", "logprobs", "token_ids"})
_SPELT = ("logprobs", "token_ids")  # what spells the text out in another way

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def masked(reply: Reply, masker: Masker) -> Reply:
    """`reply` without personal data, byte for byte the same where there is none in it."""
    return MaskedStream(reply, masker) if not isinstance(reply, Whole) else Whole(_masked_body(reply.body, masker))


def _masked_body(body: bytes, masker: Masker) -> bytes:
    completion = _object_in(body)
    changed = False
    for choice in _objects(completion, "choices"):
        for holder, field in _texts(_object(choice, "message")):
            plain = masker.mask(holder[field])
            changed = changed or plain != holder[field]
            holder[field] = plain
        changed = _unspelt(choice) or changed
    return _encode(completion) if changed else body


class MaskedStream:
    """A stream whose texts come a little later: what could still become personal is held back, a few hundred characters at most."""

    def __init__(self, stream: Stream, masker: Masker) -> None:
        self._stream = stream
        self._masker = masker
        self._open: dict[tuple[int, str, int], MaskedText] = {}  # by choice, field, and tool call (-1 for none)
        self._last: dict[str, Any] = {}

    async def pour(self, into: Sink) -> None:
        await self._stream.pour(lambda plain: into(self._mask(plain)))
        if self._open and self._last:  # it ended without a finish_reason: what is held back still belongs to it
            await hand(batch_of(_encode(self._rest())), into)

    async def aclose(self) -> None:
        await self._stream.aclose()

    def _mask(self, plain: Batch) -> Batch:
        return batch_of(*[self._masked(chunk) for chunk in payloads(plain.deltas)], usage=plain.usage)

    def _masked(self, data: bytes) -> bytes:
        chunk = _object_in(data)
        self._last = {name: value for name, value in chunk.items() if name not in {"choices", "usage"}}
        for choice in _objects(chunk, "choices"):
            index, delta = _index(choice, 0), _object(choice, "delta")
            for holder, field in _texts(delta):
                tool = -1 if holder is delta else _tool_index(delta, holder)
                text = self._open.setdefault((index, field, tool), self._masker.stream())
                holder[field] = text.feed(holder[field])
            _unspelt(choice)
            if choice.get("finish_reason") is not None:
                choice["delta"] = delta
                self._finish(index, delta)
        return _encode(chunk)

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
                delta["tool_calls"] = [*(delta.get("tool_calls") or ()), {"index": tool, "function": {"arguments": rest}}]

    def _rest(self) -> dict[str, Any]:
        choices = []
        for index in sorted({key[0] for key in self._open}):
            delta: dict[str, Any] = {}
            self._finish(index, delta)
            choices.append({"index": index, "delta": delta, "logprobs": None, "finish_reason": None})
        return self._last | {"choices": choices}


def _object_in(data: bytes) -> dict[str, Any]:
    try:
        return _decode(data)
    except UNREADABLE:
        raise EngineError(_ODD) from None


def _texts(message: dict[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Where the texts of a message or delta stand: (object, field)."""
    _require_known(message, _MESSAGE)
    for field in TEXTS:
        if _text(message, field):
            yield message, field
    for call in _objects(message, "tool_calls"):
        function = _object(call, "function")
        _require_known(call, _CALL)
        _require_known(function, _FUNCTION)
        if _text(function, "arguments"):
            yield function, "arguments"


# A shape that nobody here has seen could hold what must not be told: better no answer than that.


def _unspelt(choice: dict[str, Any]) -> bool:
    """Takes out what spells the text out besides; whether there was any."""
    _require_known(choice, _CHOICE)
    told = [name for name in _SPELT if choice.get(name) is not None]
    for name in told:
        choice[name] = None
    return bool(told)


def _require_known(holder: dict[str, Any], known: frozenset[str]) -> None:
    if any(value and name not in known for name, value in holder.items()):
        raise EngineError(_ODD)


def _objects(holder: dict[str, Any], field: str) -> list[dict[str, Any]]:
    found = holder.get(field) or []
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise EngineError(_ODD)
    return found


def _object(holder: dict[str, Any], field: str) -> dict[str, Any]:
    found = holder.get(field) or {}
    if not isinstance(found, dict):
        raise EngineError(_ODD)
    return found


def _text(holder: dict[str, Any], field: str) -> bool:
    found = holder.get(field)
    if found is not None and not isinstance(found, str):
        raise EngineError(_ODD)
    return bool(found)


def _index(holder: dict[str, Any], default: int) -> int:
    found = holder.get("index", default)
    if not isinstance(found, int):
        raise EngineError(_ODD)
    return found


def _tool_index(delta: dict[str, Any], function: dict[str, Any]) -> int:
    return next(_index(call, place) for place, call in enumerate(delta["tool_calls"]) if call.get("function") is function)
