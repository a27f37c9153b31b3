"""Who may ask an engine now, who waits, and who is sent away at once: places, and a short queue before them.

Only questions to engines come here. Kept answers, shared flights and health checks never wait.
"""

import asyncio
from collections import deque
from collections.abc import Callable

from sightline.errors import Overloaded
from sightline.limits.adaptive import AdaptiveLimit
from sightline.limits.keyfile import Priority
from sightline.settings import Limits

CLASSES: tuple[Priority, ...] = ("high", "normal", "low")
FIRST, CEILING = 16, 1024  # places that an adaptive limit begins with, and never exceeds unless told otherwise
PATIENCE = 0.2  # of the fastest answer's time: a longer wait would spoil the latency that the limit protects
LONGEST = 0.047  # seconds: with the way in and out a refusal takes 50 ms; engines with an adaptive limit have enough to do meanwhile

Waiting = asyncio.Future[None]


class Place:
    """A place at the engines, held until `leave`: whoever entered leaves, however it ended. Only the first time counts."""

    __slots__ = ("_admission", "_began", "_left", "_within")

    def __init__(self, admission: "Admission", began: float, within: int) -> None:
        self._admission = admission
        self._began = began
        self._within = within
        self._left = False

    def leave(self, *, failed: bool = False, counts: bool = True) -> None:
        """`failed`: the engine had no room or ran out of time. `counts` False: how long it took says nothing, as of a client who left."""
        if not self._left:
            self._left = True
            self._admission.left(self._began, self._within, failed=failed, counts=counts)


class Admission:
    """`clock` gives loop or monotonic time in seconds."""

    def __init__(self, settings: Limits, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seconds = settings.queue_seconds
        self._longest = settings.queue
        self._most_within = settings.engine_queue
        self._most = settings.engine_requests
        self._adaptive = AdaptiveLimit(FIRST, settings.engine_requests or CEILING) if settings.adaptive else None
        self._queues: dict[Priority, deque[Waiting]] = {priority: deque() for priority in CLASSES}
        self._between: float | None = None  # seconds from one place coming free to the next, lately, while all were taken
        self._freed_at: float | None = None  # when the last came free, if all were taken then
        self.in_flight = 0
        self.engines_waiting = 0  # as the engines' own metrics last said; set by whoever polls them

    @property
    def limit(self) -> float:
        """Places now."""
        return self._adaptive.limit if self._adaptive else float("inf") if self._most is None else self._most

    @property
    def waiting(self) -> int:
        return sum(map(len, self._queues.values()))

    async def enter(self, priority: Priority = "normal") -> Place:
        """A place, at once or after a short wait; raises Overloaded."""
        if self._most_within is not None and self.engines_waiting >= self._most_within:
            raise _overloaded("engine_queue", 1.0)
        if self.in_flight + 1 <= max(1.0, self.limit) and not self.waiting:
            self.in_flight += 1
        else:
            await self._wait(priority)
        return Place(self, self._clock(), self.in_flight)

    def left(self, began: float, within: int, *, failed: bool, counts: bool) -> None:
        if self._adaptive and counts:
            self._adaptive.finished(began, self._clock(), within, failed=failed)
        self._note_freed()
        self.in_flight -= 1
        self._admit()

    def _note_freed(self) -> None:
        now, full = self._clock(), self.in_flight + 1 > self.limit
        if full and self._freed_at is not None:
            between = now - self._freed_at
            self._between = between if self._between is None else self._between + (between - self._between) / 16
        self._freed_at = now if full else None

    async def _wait(self, priority: Priority) -> None:
        patience = self._patience()
        if self._expected(priority) > patience:
            raise _overloaded("queue", self._expected("low"))
        if self.waiting >= self._longest and not self._displace(priority):
            raise _overloaded("queue", self._expected("low"))
        turn: Waiting = asyncio.get_running_loop().create_future()
        self._queues[priority].append(turn)
        try:
            async with asyncio.timeout(patience):
                await turn
        except BaseException as error:
            if turn in self._queues[priority]:
                self._queues[priority].remove(turn)
            elif turn.done() and not turn.cancelled() and turn.exception() is None:
                self.in_flight -= 1  # admitted in the very moment it gave up: the place goes to the next
                self._admit()
            if isinstance(error, TimeoutError):
                raise _overloaded("queue", self._expected("low")) from None
            raise

    def _admit(self) -> None:
        while self.in_flight + 1 <= max(1.0, self.limit) and (turn := self._next()) is not None:
            self.in_flight += 1
            turn.set_result(None)

    def _next(self) -> Waiting | None:
        for queue in self._queues.values():
            while queue:
                turn = queue.popleft()
                if not turn.done():
                    return turn
        return None

    def _displace(self, priority: Priority) -> bool:
        """Sends the last of a lower class away, to make room in the queue; whether there was one."""
        for lower in reversed(CLASSES[CLASSES.index(priority) + 1 :]):
            if self._queues[lower]:
                turn = self._queues[lower].pop()
                if not turn.done():
                    turn.set_exception(_overloaded("queue", self._expected("low")))
                return True
        return False

    def _patience(self) -> float:
        if self._adaptive is None:
            return self._seconds
        fastest = self._adaptive.fastest
        return min(self._seconds, LONGEST if fastest is None else min(LONGEST, PATIENCE * fastest))

    def _expected(self, priority: Priority) -> float:
        """Seconds until one who came now would have a place, by the rate at which they come free; 0 where that is not known."""
        if self._between is None:
            return 0.0
        before = sum(len(self._queues[other]) for other in CLASSES[: CLASSES.index(priority) + 1])
        surplus = max(0.0, self.in_flight - self.limit)  # the limit has fallen: these leave before anybody enters
        return (before + surplus + 1) * self._between


class Crowd:
    """Requests in the gateway, whatever they do there."""

    def __init__(self, limit: int | None) -> None:
        self._limit = limit
        self.size = 0

    def enter(self) -> None:
        """One more; raises Overloaded when there are too many."""
        if self._limit is not None and self.size >= self._limit:
            raise _overloaded("requests", 1.0)
        self.size += 1

    def leave(self) -> None:
        """One less: whoever entered leaves, once."""
        self.size -= 1


def _overloaded(reason: str, wait: float) -> Overloaded:
    return Overloaded("There is more to do than can be done now. Try again in a moment.", reason=reason, retry_after=max(1.0, wait))
