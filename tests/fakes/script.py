"""What a fake engine is told to do with a request: how fast, what instead of an answer, and how it goes onto the wire."""

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal

from tests.fakes.answer import error


class Fault(StrEnum):
    NONE = "none"
    # before the answer's head
    SILENCE = "silence"  # accepted, never answered
    RESET = "reset"  # the connection is reset
    HANG_UP = "hang-up"  # the connection is closed in order
    NOT_HTTP = "not-http"  # bytes that are no HTTP
    # instead of the answer
    HTML = "html"  # a proxy's error page, with status 200
    BAD_JSON = "bad-json"  # JSON that breaks off, or that one event is no JSON
    NESTED = "nested"  # JSON of more levels than anybody reads, or one such event
    GARBAGE = "garbage"  # random bytes under the right content type
    GZIP = "gzip"  # compressed, though nobody asked
    LENGTH_TOO_LONG = "length-too-long"  # announces more bytes than come, then closes
    LENGTH_TOO_SHORT = "length-too-short"  # announces fewer bytes than come
    # within the answer, after `after` tokens (a JSON answer: after its head)
    STALL = "stall"
    CUT = "cut"  # reset
    HALF_CLOSE = "half-close"  # its side closed, without an end of the body
    ERROR_EVENT = "error-event"  # vLLM's own form: an error event and then, nevertheless, [DONE]
    NO_DONE = "no-done"  # the body ends in order, but no finish reason and no [DONE] came
    LONG_LINE = "long-line"  # one event of 10 MB
    LONG_TAIL = "long-tail"  # 10 MB that never come to a line's end, then silence
    ENDLESS = "endless"  # tokens until the client leaves


BEFORE_HEAD = {Fault.SILENCE, Fault.RESET, Fault.HANG_UP, Fault.NOT_HTTP}


@dataclass(frozen=True)
class Wire:
    """How a stream is written. All of these say the same, by the rules of server-sent events."""

    newline: Literal["\n", "\r\n", "\r"] = "\n"
    cut: Literal["event", "byte", "random", "joined"] = "event"  # what goes into one chunk and one write
    comments: bool = False  # `: keep-alive` lines between the events
    lines: bool = False  # each event's JSON over several `data:` lines
    space: bool = True  # the optional space after `data:`
    fields: bool = False  # `event:`, `id:` and `retry:` lines beside `data:`
    bom: bool = False

    def event(self, data: str) -> bytes:
        colon = "data: " if self.space else "data:"
        lines = [colon + piece for piece in data.split("\n")]
        if self.fields:
            lines = ["event: message", "id: 7", *lines, "retry: 1000"]
        if self.comments:
            lines = [": keep-alive", "", *lines]
        return (self.newline.join(lines) + 2 * self.newline).encode()

    def pieces(self, event: bytes) -> Iterator[bytes]:
        if self.cut == "byte":
            yield from (event[i : i + 1] for i in range(len(event)))
        elif self.cut == "random":
            draw, start = random.Random(event), 0
            while start < len(event):
                end = start + draw.randint(1, 40)
                yield event[start:end]
                start = end
        else:
            yield event


@dataclass(frozen=True)
class Script:
    ttft: float = 0.0  # seconds until the first token, or until a refusal
    rate: float = 0.0  # tokens a second; 0 is all at once
    tokens: int | None = None  # so many instead of the whole answer
    text: str | None = None  # instead of the answer that the request determines
    status: int = 200
    body: bytes = b""  # sent with a status other than 200
    headers: tuple[tuple[str, str], ...] = ()
    fault: Fault = Fault.NONE
    after: int = 0
    hold_head: bool = False  # the head comes with the first token, not at once as vLLM's does
    wire: Wire = field(default=Wire())


def refusal(status: int, message: str = "no", type_: str = "BadRequestError", param: str | None = None, **headers: str) -> Script:
    """An error as vLLM words it. Underscores in header names stand for hyphens."""
    pairs = tuple((name.replace("_", "-"), value) for name, value in headers.items())
    return Script(status=status, body=json.dumps(error(message, type_, status, param)).encode(), headers=pairs)


def context_length(limit: int = 2048, length: int = 5000) -> Script:
    """What vLLM says to a prompt that does not fit (vllm/renderers/params.py)."""
    message = (
        f"This model's maximum context length is {limit} tokens. However, your prompt contains {length} input tokens, which exceeds "
        "this limit even without any output tokens. Please reduce the length of the input prompt."
    )
    return refusal(400, message, param="input_tokens")


def written(chunk: dict[str, Any], wire: Wire) -> str:
    """Compact, as pydantic writes it; indented for `lines`, so that line ends fall between JSON's tokens only."""
    return json.dumps(chunk, ensure_ascii=False, separators=(",", ":"), indent=0 if wire.lines else None)
