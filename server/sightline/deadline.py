"""A time limit that moves along while work goes on.

`asyncio.timeout` arms a timer each time; a stream of 64 chunks would pay for that 128 times. Here moving the limit sets an attribute,
and the one timer looks, when it fires, whether the limit has moved on meanwhile.
"""

import asyncio
from collections.abc import Callable


class Deadline:
    """Calls `expire` once, as soon as `seconds` have passed since the last `move`. `stop` it when the work is done."""

    def __init__(self, expire: Callable[[], object]) -> None:
        self._expire = expire
        self._loop = asyncio.get_running_loop()
        self._at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def move(self, seconds: float) -> None:
        self._at = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > self._at:
            self.stop()
            self._timer = self._loop.call_at(self._at, self._look)

    def pause(self) -> None:
        """No limit until the next `move`."""
        self._at = float("inf")

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self) -> None:
        self._timer = None
        if self._at == float("inf"):
            return
        if self._loop.time() < self._at:
            self._timer = self._loop.call_at(self._at, self._look)
        else:
            self._expire()
