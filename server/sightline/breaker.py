"""When to stop asking a neighbour that fails, and when to try it again: a decision without I/O, told what happened and when.

closed ──(`failures` in a row)──▶ open ──(after the delay, one caller)──▶ half open ──(success)──▶ closed
                                   ▲                                          │
                                   └─────────(failure: twice the delay)───────┘
"""

from enum import IntEnum


class State(IntEnum):
    """The numbers are those of the metric `backend_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """`failures` in a row open it; the first trial comes after `first_delay` seconds, later ones after at most `longest_delay`."""

    def __init__(self, failures: int = 3, first_delay: float = 0.5, longest_delay: float = 4.0) -> None:
        self.state = State.CLOSED
        self.retry_at = 0.0
        self._limit = failures
        self._failures = 0
        self._first_delay = first_delay
        self._longest_delay = longest_delay
        self._delay = first_delay

    def allows(self, now: float) -> bool:
        """Whether to ask now. While it is open, True makes the caller the one trial: it owes a verdict."""
        if self.state is State.OPEN and now >= self.retry_at:
            self.state = State.HALF_OPEN
            return True
        return self.state is State.CLOSED

    def succeeded(self) -> None:
        if self.state is State.OPEN:
            return  # an answer to a question from before it opened says nothing about now
        self.state = State.CLOSED
        self._failures = 0
        self._delay = self._first_delay

    def failed(self, now: float) -> None:
        if self.state is State.OPEN:
            return
        if self.state is State.HALF_OPEN:
            self._delay = min(2 * self._delay, self._longest_delay)
        else:
            self._failures += 1
            if self._failures < self._limit:
                return
        self.state = State.OPEN
        self.retry_at = now + self._delay

    def abandoned(self, now: float) -> None:
        """The trial ended without a verdict (it was cancelled): the next caller may try at once."""
        if self.state is State.HALF_OPEN:
            self.state = State.OPEN
            self.retry_at = now
