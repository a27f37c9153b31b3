"""An answer as it is read: when its pieces came, what it says, whether that is what was due. Pure: it is given bytes and the time."""

import json
from dataclasses import dataclass, field
from typing import Any

from loadtests.scenarios.asks import Ask


@dataclass(slots=True)
class Reading:
    """`began` and what `event` is given are seconds of one clock."""

    began: float
    first: float | None = None  # seconds until the first piece of text
    gaps: list[float] = field(default_factory=list)  # seconds between pieces
    pieces: list[str] = field(default_factory=list)
    finished: bool = False  # a reason to finish was given
    done: bool = False  # [DONE], or a whole JSON answer
    error: str = ""  # the code of an error that was sent
    _last: float = 0.0

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    def event(self, data: bytes, now: float) -> None:
        """One server-sent event, its blank line included."""
        line = data.strip()
        if not line.startswith(b"data:"):
            return
        if line[5:].strip() == b"[DONE]":
            self.done = True
            return
        found = _parsed(line[5:])
        self.error = self.error or _code(found)
        for choice in found.get("choices") or ():
            self.finished = self.finished or bool(choice.get("finish_reason"))
            if piece := choice["delta"].get("content"):
                self._piece(piece, now)

    def whole(self, body: bytes) -> None:
        """A JSON answer, or a refusal."""
        found = _parsed(body)
        self.error = _code(found)
        for choice in found.get("choices") or ():
            self.finished = self.done = bool(choice.get("finish_reason"))
            self.pieces.append(choice["message"].get("content") or "")

    def fault(self, ask: Ask, status: int, *, schema: bool) -> str | None:
        """What is wrong with it, if something is. `schema`: an answer that should be an object has to be one."""
        if ask.refusal:
            due, got = ask.refusal, (status, self.error)
            return None if got == due else f"{_named(*got)} came where {_named(*due)} was due"
        if status != 200 or self.error:
            return _named(status, self.error or "without an error code")
        if not self.done or not self.finished:
            return "the answer broke off"
        if not self.text:
            return "the answer is empty"
        if schema and ask.schema and not isinstance(_parsed(self.text.encode()).get("serial"), str):
            return "the answer does not obey its schema"
        return None

    def _piece(self, piece: str, now: float) -> None:
        if self.first is None:
            self.first = now - self.began
        else:
            self.gaps.append(now - self._last)
        self._last = now
        self.pieces.append(piece)


def _named(status: int, code: str) -> str:
    return f"{status or 'no answer'} {code}".rstrip()


def _code(found: dict[str, Any]) -> str:
    error = found.get("error")
    return str(error.get("code") or error.get("type")) if isinstance(error, dict) else ""


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
