"""One answer, both renderings: `Fold` makes the completion of a stream's chunks, `expand` makes chunks of a completion.

Laws, tested: `fold(expand(c)) == c` but for id and created; a fold does not depend on how its events were batched; folding what real
vLLM streams gives what it sends unstreamed. What is folded is folded exactly or not at all: a field that is not known here and is not
null, log probabilities, token ids, several choices or a missing end give None, and such an answer is neither kept nor shared.

The shape is vLLM's (entrypoints/openai/chat_completion/protocol.py, 0.32), nulls and their order included.
"""

import re
from collections.abc import Iterable
from typing import Any, Literal, TypeVar

import msgspec

from sightline.wire.alike import Alike
from sightline.wire.reply import UNREADABLE, Told
from sightline.wire.sse import batch_of

WHOLE_ENDS = frozenset({"stop", "tool_calls"})  # an answer that ended otherwise (length, content_filter, abort …) is not the whole answer


class NotExpandable(ValueError):
    """This completion holds something that chunks could not carry exactly."""


class _Strict(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """What is not named here is refused, so that an engine's new field is noticed and never lost."""


class _FunctionDelta(_Strict):
    name: str | None = None
    arguments: str | None = None


class _CallDelta(_Strict):
    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: _FunctionDelta | None = None


class _Delta(_Strict):
    role: str | None = None
    content: str | None = None
    refusal: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[_CallDelta] | None = None


class _ChunkChoice(_Strict):
    index: int
    delta: _Delta
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    logprobs: None = None
    token_ids: None = None


class _Chunk(_Strict):
    id: str
    object: Literal["chat.completion.chunk"]
    created: int
    model: str
    choices: list[_ChunkChoice]
    usage: dict[str, Any] | None = None
    system_fingerprint: str | None = None
    service_tier: str | None = None
    metrics: dict[str, Any] | None = None
    prompt_token_ids: None = None
    prompt_text: None = None


class _Function(_Strict):
    name: str
    arguments: str


class _Call(_Strict):
    id: str
    function: _Function
    type: Literal["function"] = "function"


class _Message(_Strict):
    role: str
    content: str | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    # vLLM writes these, and those below, though they are null: named, they need no second reading of the whole.
    annotations: None = None
    audio: None = None
    function_call: None = None


class _Choice(_Strict):
    index: Literal[0]
    message: _Message
    finish_reason: str
    stop_reason: int | str | None = None
    logprobs: None = None
    token_ids: None = None
    routed_experts: None = None


class _Completion(_Strict):
    id: str
    object: Literal["chat.completion"]
    created: int
    model: str
    choices: list[_Choice]
    usage: dict[str, Any]
    system_fingerprint: str | None = None
    service_tier: str | None = None
    metrics: dict[str, Any] | None = None
    prompt_logprobs: None = None
    prompt_token_ids: None = None
    prompt_text: None = None
    kv_transfer_params: None = None
    ec_transfer_params: None = None


_T = TypeVar("_T", _Chunk, _Completion)
_chunk = msgspec.json.Decoder(_Chunk)
_completion = msgspec.json.Decoder(_Completion)
_members = msgspec.json.Decoder(dict[str, msgspec.Raw])
_encode = msgspec.json.Encoder().encode
_text = msgspec.json.Decoder(str).decode
_opening = re.compile(rb'\{"id":"[^"\\]*","object":"chat\.completion","created":\d+,(?=")').match


def _read(decoder: "msgspec.json.Decoder[_T]", data: bytes) -> _T | None:
    """The object in `data`, or None where it holds anything but nulls beyond the fields named above."""
    try:
        return decoder.decode(data)
    except UNREADABLE:
        pass
    try:
        return msgspec.convert(_without_nulls(msgspec.json.decode(data)), decoder.type)
    except UNREADABLE:
        return None


def _without_nulls(value: Any, *, inside: bool = True) -> Any:
    """`value` without null members, but for those inside `usage` and `metrics`, which are carried as they are."""
    if isinstance(value, dict):
        kept = {"usage", "metrics"}
        return {k: _without_nulls(v, inside=k not in kept) for k, v in value.items() if v is not None} if inside else value
    return [_without_nulls(item) for item in value] if isinstance(value, list) and inside else value


class Fold:
    """Adds up a streamed answer as it passes; `size` is about what it holds: characters, or bytes of JSON."""

    def __init__(self) -> None:
        self.size = 0
        self._sound = True
        self._first: _Chunk | None = None
        self._role: str | None = None
        self._texts: dict[str, list[str]] = {}
        self._calls: list[tuple[_CallDelta, list[str]]] = []
        self._end: _ChunkChoice | None = None
        self._extras: dict[str, Any] = {}
        self._alike: Alike | None = None  # where the last chunk said nothing but some text
        self._escaped: list[bytes] = []  # the texts since, as they stood in their chunks

    def add(self, chunks: Iterable[bytes]) -> None:
        """More of the stream: its next chunks, each its JSON."""
        for data in chunks:
            if not self._sound:
                return
            if self._alike is not None and (text := self._alike.text(data)) is not None:
                self._escaped.append(text)
                self.size += len(text)
                continue
            chunk = _read(_chunk, data)
            self._unescape()
            self._sound = self._sound and chunk is not None and self._take(chunk)
            self._alike = None if self._end is not None or chunk is None else _alike(data, chunk)

    def finish(self) -> bytes | None:
        """The completion's JSON as the engine would have sent it unstreamed, or None where that cannot be told exactly."""
        self._unescape()
        first, end = self._first, self._end
        if not self._sound or first is None or end is None or self._role is None or "usage" not in self._extras:
            return None
        texts = {name: "".join(parts) for name, parts in self._texts.items()}
        message: dict[str, Any] = {"role": self._role, "content": texts.get("content"), "refusal": texts.get("refusal")}
        message |= {"annotations": None, "audio": None, "function_call": None}
        if self._calls:
            message["tool_calls"] = [_whole_call(call, arguments) for call, arguments in self._calls]
        message["reasoning"] = texts.get("reasoning")
        if "reasoning_content" in texts:
            message["reasoning_content"] = texts["reasoning_content"]
        usage = self._extras["usage"]
        return _encode(
            {
                "id": first.id,
                "object": "chat.completion",
                "created": first.created,
                "model": first.model,
                "choices": [
                    {
                        "index": 0,
                        "message": message,
                        "logprobs": None,
                        "finish_reason": end.finish_reason,
                        "stop_reason": end.stop_reason,
                        "token_ids": None,
                        "routed_experts": None,
                    }
                ],
                "service_tier": self._extras.get("service_tier"),
                "system_fingerprint": self._extras.get("system_fingerprint"),
                # A stream's usage leaves its nulls out; these two are vLLM's own and stand in every unstreamed answer.
                "usage": usage | {name: usage.get(name) for name in ("prompt_tokens_details", "completion_tokens_details")},
                "prompt_logprobs": None,
                "prompt_token_ids": None,
                "prompt_text": None,
                "kv_transfer_params": None,
                "ec_transfer_params": None,
                "metrics": self._extras.get("metrics"),
            }
        )

    def _unescape(self) -> None:
        """Decodes the texts that were noted."""
        if self._escaped:
            try:
                self._texts.setdefault("content", []).append(_text(b'"%b"' % b"".join(self._escaped)))
            except UNREADABLE:
                self._sound = False
            self._escaped.clear()

    def _take(self, chunk: _Chunk) -> bool:
        first = self._first = self._first or chunk
        if (chunk.id, chunk.created, chunk.model) != (first.id, first.created, first.model) or len(chunk.choices) > 1:
            return False
        for name in ("usage", "system_fingerprint", "service_tier", "metrics"):
            value = getattr(chunk, name)
            if value is not None:
                self._extras[name] = value
        return all(self._take_choice(choice) for choice in chunk.choices)

    def _take_choice(self, choice: _ChunkChoice) -> bool:
        delta = choice.delta
        if choice.index != 0 or self._end is not None:
            return False
        if delta.role is not None:
            if self._role not in {None, delta.role}:
                return False
            self._role = delta.role
        for name in ("content", "refusal", "reasoning", "reasoning_content"):
            text = getattr(delta, name)
            if text is not None:
                self._texts.setdefault(name, []).append(text)
                self.size += len(text)
        if choice.finish_reason is not None:
            self._end = choice
        return all(self._take_call(call) for call in delta.tool_calls or ())

    def _take_call(self, call: _CallDelta) -> bool:
        function = call.function or _FunctionDelta()
        if call.index == len(self._calls):  # a new call begins with its id and its name; its arguments may come piece by piece
            if call.id is None or function.name is None:
                return False
            self._calls.append((call, []))
        begun, arguments = self._calls[call.index] if 0 <= call.index < len(self._calls) else (None, [])
        if begun is None or call.id not in {None, begun.id} or (begun is not call and function.name):
            return False
        arguments.append(function.arguments or "")
        self.size += len(arguments[-1])
        return True


def _alike(data: bytes, chunk: _Chunk) -> Alike | None:
    alike = Alike.of(data)
    text = alike.text(data) if alike is not None else None
    if text is None or len(chunk.choices) != 1:
        return None
    return alike if chunk.choices[0].delta == _Delta(content=text.decode("utf-8", "replace")) else None


def _whole_call(call: _CallDelta, arguments: list[str]) -> dict[str, Any]:
    name = call.function.name if call.function else None
    return {"id": call.id, "type": "function", "function": {"name": name, "arguments": "".join(arguments)}}


def fold(chunks: Iterable[bytes]) -> bytes | None:
    """The completion of a whole stream, or None (see `Fold.finish`)."""
    folding = Fold()
    folding.add(chunks)
    return folding.finish()


def expand(completion: bytes, *, id: str, created: int) -> list[bytes]:  # noqa: A002  the field's name on the wire
    """The chunks of a stream that says what `completion` says: role, reasoning, content, tool calls, end, usage.

    Raises NotExpandable where `completion` holds something that chunks could not carry exactly.
    """
    whole = _read(_completion, completion)
    if whole is None or len(whole.choices) != 1:
        raise NotExpandable
    choice, message = whole.choices[0], whole.choices[0].message

    def chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
        head = {"id": id, "object": "chat.completion.chunk", "created": created, "model": whole.model}
        return _encode(head | {"choices": choices} | more)

    def delta(**fields: Any) -> bytes:
        return chunk([{"index": 0, "delta": fields, "logprobs": None, "finish_reason": None}])

    chunks = [delta(role=message.role, content=None if message.content is None else "")]
    chunks += [
        delta(**{name: text}) for name in ("reasoning", "reasoning_content", "refusal") if (text := getattr(message, name)) is not None
    ]
    if message.content:
        chunks.append(delta(content=message.content))
    chunks += [
        delta(
            tool_calls=[
                {
                    "index": index,
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.function.name, "arguments": call.function.arguments},
                }
            ]
        )
        for index, call in enumerate(message.tool_calls or ())
    ]
    chunks.append(
        chunk(
            [
                {
                    "index": 0,
                    "delta": {},
                    "logprobs": None,
                    "finish_reason": choice.finish_reason,
                    "stop_reason": choice.stop_reason,
                }
            ]
        )
    )
    extras = {name: value for name in ("system_fingerprint", "service_tier", "metrics") if (value := getattr(whole, name)) is not None}
    chunks.append(chunk([], usage=whole.usage, **extras))
    return chunks


def told(completion: bytes, *, id: str, created: int) -> Told:  # noqa: A002  the field's name on the wire
    """`completion` as a stream, see `expand`."""
    *chunks, usage = expand(completion, id=id, created=created)
    return Told(batch_of(*chunks, usage=usage))


def is_whole(completion: bytes) -> bool:
    """Whether this is one answer that ended of itself (`stop`, `tool_calls`) and can be sent in both renderings."""
    read = _read(_completion, completion)
    return read is not None and len(read.choices) == 1 and read.choices[0].finish_reason in WHOLE_ENDS


def unstamp(completion: bytes) -> bytes:
    """`completion` without its id, object and created, and without its opening brace: what is kept. Values stay byte for byte."""
    opening = _opening(completion)
    if opening is not None:  # as vLLM writes it: these three first, with no white space
        return completion[opening.end() :]
    members = _members.decode(completion)
    return b",".join(_encode(name) + b":" + bytes(raw) for name, raw in members.items() if name not in {"id", "object", "created"}) + b"}"


def stamp(tail: bytes, *, id: str, created: int) -> bytes:  # noqa: A002  the field's name on the wire
    """The completion of an `unstamp`ed one, under a fresh id (which needs no escaping) and time. No JSON is parsed or made."""
    return b'{"id":"%b","object":"chat.completion","created":%d,%b' % (id.encode(), created, tail)


def restamp(completion: bytes, *, id: str, created: int) -> bytes:  # noqa: A002  the field's name on the wire
    return stamp(unstamp(completion), id=id, created=created)
