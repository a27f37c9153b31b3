"""What a long wait looks like: on a terminal one line that is written over, elsewhere one line a step."""

import sys
import time
from types import TracebackType
from typing import Self


class Progress:
    """`step` says what is going on now, `tick` shows the seconds that have passed, `note` leaves a line behind."""

    def __init__(self) -> None:
        self._live = sys.stderr.isatty()
        self._began = time.monotonic()
        self._current = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._wipe()

    def step(self, text: str) -> None:
        self._current = text
        if self._live:
            self.tick()
        else:
            self._write(f"{text}\n")

    def tick(self) -> None:
        if self._live and self._current:
            self._write(f"\r\x1b[2K{self._current[:90]} … {time.monotonic() - self._began:.0f} s")

    def note(self, text: str) -> None:
        self._wipe()
        self._current = ""
        self._write(f"{text}\n")

    def _wipe(self) -> None:
        if self._live and self._current:
            self._write("\r\x1b[2K")

    @staticmethod
    def _write(text: str) -> None:
        sys.stderr.write(text)
        sys.stderr.flush()
