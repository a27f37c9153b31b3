"""How many requests the engines may have at once, learned from how long they take: decided without I/O, told the time.

Additive increase while answers are about as fast as they can be, multiplicative decrease when they are not (Jacobson 1988, as Netflix's
concurrency-limits use it). "As fast as they can be" is the least median seen; when it has not been seen again for a while, a round with
fewer places measures it anew, as TCP BBR does: an engine that has become slower for good is then believed, one that merely has too
many requests is not. (No maintained Python library was found that does this on the server's side.)
"""

import math
from statistics import median

FLOOR = 1
TOLERANCE = 1.3  # an answer may take this many times the least median before the limit falls
RISE = 1.5  # the limit grows by this factor a round until the first slow one, so that it need not be guessed
FALL = 0.7  # what is left of the limit, at the least, after one slow round
PROBE = 0.7  # of the limit, for the round that measures the least median anew: just below what `TOLERANCE` lets it settle at
BELIEVED, ANSWERS, AT_MOST = 15.0, 20.0, 30.0  # a fast round is believed for so many seconds or answers' times, whichever is longer
SLOW_ROUND = 3.0  # seconds after which three answers end a round
CLOSE = 1.1  # a median up to this many times the least confirms it


class AdaptiveLimit:
    """`limit` is the number now; rounds of answers move it, counted from those that began after the last move."""

    def __init__(self, initial: int, ceiling: int) -> None:
        self.limit = float(min(initial, ceiling))
        self.fastest: float | None = None  # seconds: the least median
        self._ceiling = ceiling
        self._round_at = -math.inf
        self._times: list[float] = []
        self._crowded = 0  # of those answers, how many began when the places were all but taken
        self._confirmed_at = -math.inf
        self._confirmed_limit = 0.0  # the limit then
        self._before_probe: float | None = None
        self._searching = True

    def finished(self, began: float, now: float, within: int, *, failed: bool = False) -> None:
        """An answer ended. `within` is how many there were when it began, itself included: what it took tells of so many and not of the
        limit, if that was higher. `failed` when the engine refused or timed out, as it does when it has too much to do.
        """
        if began < self._round_at:
            return
        self._times.append(math.inf if failed else now - began)
        self._crowded += within >= 0.8 * self.limit
        enough = len(self._times) >= (3 if now - self._round_at >= SLOW_ROUND else max(3.0, min(self.limit, 50.0)))
        if enough:
            self._end_round(median(self._times), now)
            self._times, self._crowded, self._round_at = [], 0, now

    def _end_round(self, time: float, now: float) -> None:
        if self._before_probe is not None:
            self.limit, self._before_probe = self._before_probe, None
            if math.isfinite(time):
                if self.fastest is not None and time > TOLERANCE * self.fastest:
                    # Slower for good: the rounds before took the limit far down for it, by what was true no more.
                    self.limit = max(self.limit, self._confirmed_limit * PROBE)
                else:
                    self._confirmed_limit = self.limit
                self.fastest = time
            self._confirmed_at = now
            return
        if self.fastest is not None and time < self.fastest / 2:
            # Another engine, as it were: what was measured with so many places may be far from its least. Search anew.
            self.limit, self.fastest, self._searching = max(FLOOR, self.limit / 2), None, True
            return
        self.fastest = time if self.fastest is None else min(self.fastest, time)
        if time <= CLOSE * self.fastest:
            self._confirmed_at, self._confirmed_limit = now, self.limit
        elif now - self._confirmed_at >= min(AT_MOST, max(BELIEVED, ANSWERS * self.fastest)):
            self._before_probe = self.limit
            self.limit = max(FLOOR, self.limit * PROBE)
            return
        if time > TOLERANCE * self.fastest:
            self._searching = False
            self.limit = max(FLOOR, self.limit * max(FALL, TOLERANCE * self.fastest / time))
        elif 2 * self._crowded >= len(self._times):
            more = self.limit * RISE if self._searching else self.limit + max(1.0, math.sqrt(self.limit) / 2)
            self.limit = min(self._ceiling, more)
