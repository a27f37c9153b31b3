"""When an engine is left alone, and when asking again is worth it: pure decisions that take `now` (seconds, monotonic)."""

from collections import deque

CONSECUTIVE = 5
WINDOW = 10.0
ENOUGH = 20
_MOST_EARNED = 20.0  # retries saved up: an outage that begins after a busy hour must not begin with a storm
PAUSE = 5.0  # an engine is back at most 11 s after it has healed


class Health:
    """Ejects an engine after 5 failures in a row, or half of 20 or more calls in 10 s; after a pause one probe goes through."""

    def __init__(self) -> None:
        self._row = 0
        self._calls: deque[tuple[float, bool]] = deque()
        self._failed = 0
        self._until: float | None = None
        self._probing = False

    def may_ask(self, now: float) -> bool:
        return self._until is None or (now >= self._until and not self._probing)

    def asked(self, now: float) -> None:
        """The engine is being asked: while it is ejected this is the one probe."""
        self._probing = self._until is not None and now >= self._until

    def succeeded(self, now: float) -> None:
        if self._until is not None:
            self._calls.clear()
            self._failed = 0
        self._row, self._until, self._probing = 0, None, False
        self._note(now, failed=False)

    def failed(self, now: float) -> None:
        self._row += 1
        self._note(now, failed=True)
        if self._probing or self._row >= CONSECUTIVE or (len(self._calls) >= ENOUGH and self._failed * 2 >= len(self._calls)):
            self._until, self._probing = now + PAUSE, False

    def abandoned(self) -> None:
        """The caller left before anything was learnt."""
        self._probing = False

    @property
    def ejected(self) -> bool:
        return self._until is not None

    def _note(self, now: float, *, failed: bool) -> None:
        self._calls.append((now, failed))
        self._failed += failed
        while self._calls and self._calls[0][0] <= now - WINDOW:
            self._failed -= self._calls.popleft()[1]


class RetryBudget:
    """Retries are at most a fifth of the requests, and `floor` a second besides so that a quiet gateway can still retry."""

    def __init__(self, share: float = 0.2, floor: float = 3.0) -> None:
        self._share = share
        self._floor = floor
        self._earned = 0.0  # by requests
        self._spare = floor  # by time
        self._at: float | None = None

    def request(self) -> None:
        self._earned = min(self._earned + self._share, _MOST_EARNED)

    def take(self, now: float) -> bool:
        """Whether a retry may be made now."""
        if self._at is not None:
            self._spare = min(self._spare + (now - self._at) * self._floor, self._floor)
        self._at = now
        if self._earned >= 1:
            self._earned -= 1
        elif self._spare >= 1:
            self._spare -= 1
        else:
            return False
        return True
