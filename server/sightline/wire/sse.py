"""Server-sent events, incrementally: bytes as the network cuts them in, whole events out; and the frames we write.

The engine's common form (one `data:` line, a blank line) goes the short way. Everything the standard allows besides is understood:
CRLF and CR, several data lines, comments, other fields (https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream).
"""

import msgspec

from sightline.errors import EngineError
from sightline.wire.reply import Event, Kind

DONE = b"data: [DONE]\n\n"
MAX_EVENT_BYTES = 4 * 2**20


def frame(data: bytes) -> bytes:
    return b"data: " + data + b"\n\n"


class Decoder:
    """Cuts an event stream into the payloads of its events. `feed` may be given any pieces; `rest` tells if one is left over."""

    def __init__(self) -> None:
        self._buffer = b""
        self._cr = False  # the last piece ended in CR: a leading LF of the next one belongs to it

    def feed(self, piece: bytes) -> list[bytes]:
        """The payloads that `piece` completed. Raises EngineError when one event is larger than MAX_EVENT_BYTES."""
        if b"\r" in piece or self._cr:
            piece = self._only_lf(piece)
        if self._buffer:
            piece = self._buffer + piece
        *blocks, self._buffer = piece.split(b"\n\n")
        if len(self._buffer) > MAX_EVENT_BYTES:
            raise EngineError("The engine sent an event that is too large.")
        payloads = []
        for block in blocks:
            if block.startswith(b"data: ") and b"\n" not in block:
                payloads.append(block[6:])
            elif (payload := _lines(block)) is not None:
                payloads.append(payload)
        return payloads

    @property
    def rest(self) -> bool:
        return bool(self._buffer.strip())

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


def event(payload: bytes) -> Event:
    """A chunk from its payload. Raises EngineError for the engine's own error events and for what is no chunk."""
    try:
        chunk = _chunk(payload)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise EngineError("The engine sent something that is not a chat completion chunk.") from None
    if chunk.error is not None or chunk.object == "error" or chunk.choices is None:
        raise EngineError("The engine failed while it was answering.")
    return Event(Kind.DELTA if chunk.choices else Kind.USAGE, payload)
