"""Log lines: JSON, one a line, to standard error; a readable form on a terminal. A log that cannot be written never stops a request."""

import logging
import queue
import sys
import threading
from collections.abc import MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

_WAITING = 10_000  # lines held while the sink is slow; beyond that they are dropped, and the next line that gets through says how many

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Sink:
    """Writes lines from a thread of its own, so that a full pipe or disk holds up nobody. `close` writes what is left."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._lines: queue.Queue[str | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread = threading.Thread(target=self._write, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    debug = info = warning = error = critical = exception = msg  # what structlog calls, by level

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            lines = [line]
            while not self._lines.empty() and lines[-1] is not None:
                lines.append(self._lines.get())  # type: ignore[arg-type]  # None ends the loop below
            ended = lines[-1] is None
            if self._dropped:
                lines.insert(0, f'{{"event":"log.dropped","lines":{self._dropped}}}')
                self._dropped = 0
            try:
                self._stream.write("\n".join(x for x in lines if x is not None) + "\n")
                self._stream.flush()
            except (OSError, ValueError):  # disk full, or a reader that has gone
                self._dropped += len(lines)
            if ended:
                return

    def close(self, seconds: float = 1.0) -> None:
        try:
            self._lines.put(None, timeout=seconds)
        except queue.Full:
            return
        self._thread.join(seconds)


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event).decode()


def configure(level: str, form: str, stream: TextIO = sys.stderr) -> Sink:
    """Sets up structlog for the process. `form`: json, console, or auto (console on a terminal)."""
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: structlog.types.Processor = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0) if console else _json
    sink = Sink(stream)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console, key="ts"),
            *([_compact] if console else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    return sink


def _compact(_: Any, __: str, event: Any) -> Any:
    """On a terminal nobody wants to read what is not there."""
    event["timestamp"] = event.pop("ts")
    return {name: value[:12] if name.endswith("_hash") else value for name, value in event.items() if value is not None}
