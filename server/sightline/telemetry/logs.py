"""Log lines: JSON, one a line, to standard error; a readable form on a terminal. A log that cannot be written never stops a request."""

import logging
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, MutableMapping
from typing import Any, TextIO

import msgspec
import structlog

_WAITING = 10_000  # lines held while the sink is slow; beyond that they are dropped, and the next line that gets through says how many
_EVERY = 0.05  # seconds between writes: waking the thread for each line costs a tenth of a hit (measured)

_encode = msgspec.json.Encoder(enc_hook=str).encode


class Sink:
    """Writes lines from a thread of its own, so that a full pipe or disk holds up nobody. `close` writes what is left."""

    def __init__(self, stream: TextIO, dropped: Callable[[int], object]) -> None:
        self._stream = stream
        self._tell_dropped = dropped
        self._lines: deque[str] = deque()
        self._dropped = 0
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def msg(self, line: str) -> None:
        if len(self._lines) < _WAITING:
            self._lines.append(line)
        else:
            self._drop(1)

    debug = info = warning = error = critical = exception = msg  # what structlog calls, by level

    def _run(self) -> None:
        while not self._closing.wait(_EVERY):
            self._write()
        self._write()

    def _write(self) -> None:
        lines = [self._lines.popleft() for _ in range(len(self._lines))]
        if not lines:
            return
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(_encode({"event": "log.dropped", "lines": dropped}).decode())
        try:
            self._stream.write("\n".join(lines) + "\n")
            self._stream.flush()
        except (OSError, ValueError):  # disk full, or a reader that has gone
            self._dropped += dropped
            self._drop(len(lines) - bool(dropped))

    def _drop(self, lines: int) -> None:
        self._dropped += lines
        self._tell_dropped(lines)

    def close(self, seconds: float = 1.0) -> None:
        self._closing.set()
        self._thread.join(seconds)


def _json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return _encode(event).decode()


def configure(level: str, form: str, stream: TextIO = sys.stderr, dropped: Callable[[int], object] = lambda _: None) -> Sink:
    """Sets up structlog for the process. `form`: json, console, or auto (console on a terminal). `dropped` hears of lines not written."""
    console = form == "console" or (form == "auto" and stream.isatty())
    renderer: structlog.types.Processor = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=0) if console else _json
    sink = Sink(stream, dropped)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console, key="ts"),
            _traced,
            *([_compact] if console else []),
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    return sink


def writer() -> Callable[[msgspec.Struct], None]:
    """What writes lines that are whole already: their fields are a struct's, `event` and `level` among them.

    JSON goes from the struct to the sink: structlog's way there costs ten times as much, and each request has such a line.
    """
    log = structlog.get_logger().bind()
    wanted = {level.lower() for level, number in logging.getLevelNamesMapping().items() if log.is_enabled_for(number)}
    if structlog.get_config()["processors"][-1] is not _json:

        def tell(line: Any) -> None:
            fields = {name: value for name, value in msgspec.structs.asdict(line).items() if name not in {"ts", "level", "event"}}
            getattr(log, line.level)(line.event, **fields)

        return tell
    put = structlog.get_config()["logger_factory"]().msg

    def write(line: Any) -> None:
        if line.level in wanted:
            put(_encode(line).decode())

    return write


class Timestamps:
    """ISO 8601 in UTC, as structlog's `TimeStamper(fmt="iso")` writes it; all but the fraction is made once a second."""

    def __init__(self) -> None:
        self._second = 0
        self._text = ""

    def at(self, now: float) -> str:
        """`now` in seconds since the epoch."""
        second = int(now)
        if second != self._second:
            self._second, self._text = second, time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
        return f"{self._text}.{int((now - second) * 1e6):06d}Z"


def _traced(_: Any, __: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """An exception as its kind and where it went by. Not its text, nor any values: they may repeat what a caller sent."""
    if event.pop("exc_info", None):
        kind, _, way = sys.exc_info()
        event["exception"] = kind.__name__ if kind else None
        event["trace"] = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(way)]
    return event


def _compact(_: Any, __: str, event: Any) -> Any:
    """On a terminal nobody wants to read what is not there."""
    event["timestamp"] = event.pop("ts")
    return {name: value[:12] if name.endswith("_hash") else value for name, value in event.items() if value is not None}
