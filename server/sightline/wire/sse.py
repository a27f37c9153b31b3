"""Server-sent events, incrementally: bytes as the network cuts them in, batches of whole and judged events out; and the frames we write.

The engine's common form (one `data:` line, a blank line) goes the short way, and a chunk like the last one the shortest. Everything the
standard allows besides is understood: CRLF and CR, several data lines, comments, other fields
(https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
"""

from collections.abc import Iterator

import msgspec

from sightline.errors import EngineError
from sightline.wire.alike import Alike
from sightline.wire.reply import UNREADABLE, Batch

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 4 * 2**20


def frame(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


def payloads(frames: bytes) -> list[bytes]:
    """What was framed."""
    return [framed[6:] for framed in frames.split(b"\n\n")[:-1]]


def batch_of(*chunks: bytes, usage: bytes = b"") -> Batch:
    """The batch of these chunks, each its JSON and with choices, and of the usage's behind them."""
    deltas = b"".join([frame(chunk) for chunk in chunks])
    return Batch(deltas + frame(usage), deltas, usage) if usage else Batch(deltas, deltas)


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
        events, deltas, usage = [], [], b""
        try:
            for payload in self._payloads(piece):
                if payload == b"[DONE]":
                    self.done = True
                    break
                framed = frame(payload)
                if _has_choices(payload):
                    deltas.append(framed)
                else:
                    usage = payload
                events.append(framed)
        except EngineError as error:
            self.failure = error
        if not events:
            return None
        if usage:
            return Batch(b"".join(events), b"".join(deltas), usage)
        if len(events) == 1 and events[0] == piece:
            self._alike = Alike.of(piece) or self._alike
        whole = b"".join(events)
        return Batch(whole, whole)

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
    except UNREADABLE:
        raise EngineError("The engine sent something that is not a chat completion chunk.") from None
    if chunk.error is not None or chunk.object == "error" or chunk.choices is None:
        raise EngineError("The engine failed while it was answering.")
    return bool(chunk.choices)
