"""Server-sent events, incrementally: bytes as the network cuts them in, batches of whole events out; and the frames we write.

The engine's common form (one `data:` line, a blank line) goes the short way. Everything the standard allows besides is understood:
CRLF and CR, several data lines, comments, other fields (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
"""

import re
from collections.abc import Iterator

import msgspec

from sightline.errors import EngineError
from sightline.wire.reply import Batch

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 4 * 2**20
_TEXT_BEGINS = b'"delta":{"content":"'


def frame(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def payloads(frames: bytes) -> list[bytes]:
    """What was framed."""
    return [framed[6:] for framed in frames.split(b"\n\n")[:-1]]


def batch(*chunks: bytes) -> Batch:
    """The batch of these chunks, each its JSON. Raises EngineError for the engine's own error events and for what is no chunk."""
    return _batch([(chunk, _has_choices(chunk)) for chunk in chunks])


def _batch(chunks: list[tuple[bytes, bool]]) -> Batch:
    asked = b"".join([frame(chunk) for chunk, _ in chunks])
    if all(has_choices for _, has_choices in chunks):
        return Batch(asked, asked)
    deltas = b"".join([frame(chunk) for chunk, has_choices in chunks if has_choices])
    return Batch(asked, deltas, [chunk for chunk, has_choices in chunks if not has_choices][-1])


class Alike:
    """What stands before and behind the text in chunks that differ in nothing else, as an engine's chunks of text do.

    A chunk that is `like` the last one need not be parsed: it says the same, but for the text.
    """

    __slots__ = ("_before", "_behind", "_least")

    def __init__(self, before: bytes, behind: bytes) -> None:
        self._before = before
        self._behind = behind
        self._least = len(before) + len(behind)

    @classmethod
    def of(cls, data: bytes) -> "tuple[Alike, bytes] | None":
        """Of `data`, which holds a valid chunk, and its text; None where it has none, more than one, or one with escapes."""
        before, mark, rest = data.partition(_TEXT_BEGINS)
        text, quote, after = rest.partition(b'"')
        return (cls(before + mark, quote + after), text) if quote and b"\\" not in text and _TEXT_BEGINS not in after else None

    def text(self, data: bytes) -> bytes | None:
        """The text of `data`, as it stands in JSON, if that is such a chunk."""
        if len(data) < self._least or not data.startswith(self._before) or not data.endswith(self._behind):
            return None
        text = data[len(self._before) : -len(self._behind)]
        return text if _in_a_string(text) else None


_in_a_string = re.compile(rb'[^"\\\x00-\x1f]*(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*)*').fullmatch  # RFC 8259 §7


class Reader:
    """Reads an event stream, a piece at a time, until it is `done` or has a `failure`. What comes then is nobody's."""

    def __init__(self) -> None:
        self.done = False  # the engine has said that its answer is complete
        self.failure: EngineError | None = None  # what stood in the place of an event, behind those that were given out
        self._buffer = b""
        self._cr = False  # the last piece ended in CR: a leading LF of the next one belongs to it
        self._alike: Alike | None = None

    def feed(self, piece: bytes) -> Batch | None:
        """The events that `piece` completed, if any. No piece is the end of the stream, which comes too early."""
        if self._alike is not None and not self._buffer and self._alike.text(piece) is not None:
            return Batch(piece, piece)
        chunks = []
        try:
            for payload in self._payloads(piece):
                if payload == b"[DONE]":
                    self.done = True
                    break
                chunks.append((payload, _has_choices(payload)))
        except EngineError as error:
            self.failure = error
        if not chunks:
            return None
        found = _batch(chunks)
        if len(chunks) == 1 and found.deltas == piece and (alike := Alike.of(piece)) is not None:
            self._alike, _ = alike
        return found

    def _payloads(self, piece: bytes) -> Iterator[bytes]:
        if not piece:
            raise EngineError("The engine's answer ended before it was complete.")
        if b"\r" in piece or self._cr:
            piece = self._only_lf(piece)
        if self._buffer:
            piece = self._buffer + piece
        *blocks, self._buffer = piece.split(b"\n\n")
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise EngineError("The engine sent an event that is too large.")
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                yield block[6:]
            elif (payload := _lines(block)) is not None:
                yield payload

    def _only_lf(self, piece: bytes) -> bytes:
        if self._cr and piece.startswith(b"\n"):
            piece = piece[1:]
        self._cr = piece.endswith(b"\r")
        return piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _lines(block: bytes) -> bytes | None:
    """The data of an event in its general form, or None when it has no data line.

    Lines are joined by a space where the standard has a line feed: between JSON's tokens both mean the same, and one line is what we write.
    """
    lines = block.removeprefix(b"\xef\xbb\xbf").split(b"\n")  # a stream may open with a byte order mark
    data = [line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")]
    return b" ".join(data) if data else None


class _Chunk(msgspec.Struct):
    choices: list[msgspec.Raw] | None = None
    error: msgspec.Raw | None = None
    object: str | None = None


_chunk = msgspec.json.Decoder(_Chunk).decode


def _has_choices(data: bytes) -> bool:
    """Whether a chunk says something, or only what was used. Raises EngineError for the engine's error events and for what is no chunk."""
    try:
        chunk = _chunk(data)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineError("The engine sent something that is not a chat completion chunk.") from None
    if chunk.error is not None or chunk.object == "error" or chunk.choices is None:
        raise EngineError("The engine failed while it was answering.")
    return bool(chunk.choices)
