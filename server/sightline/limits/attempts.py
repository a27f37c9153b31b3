"""Wrong keys from one address: after a number of them in a minute their sender is told to wait, not only that they are wrong.

Who has a right key is let in whatever others behind the same address do: 256 bits cannot be guessed, so nothing is lost by it.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence

from sightline.errors import AuthenticationFailed, RateLimited
from sightline.limits.callers import Caller, Door, one_address
from sightline.limits.gcra import EMPTY, Level, Rate, decide
from sightline.telemetry.metrics import Metrics

MINUTE = 60.0
MOST = 10_000  # addresses remembered; beyond, the one that was wrong the longest time ago is forgotten


class Attempts:
    """A door before another `door` that counts whom that one does not know. `clock` gives seconds that never go back."""

    def __init__(self, door: Door, limit: int, metrics: Metrics, clock: Callable[[], float]) -> None:
        self._door = door
        self._rate = Rate(limit, MINUTE)
        self._refused = metrics.rate_limited.labels("failed_auth")
        self._clock = clock
        self._levels: OrderedDict[str, Level] = OrderedDict()

    def identify(self, authorization: Sequence[bytes], address: str = "") -> Caller:
        """Raises AuthenticationFailed as the inner door does, or RateLimited in its place."""
        try:
            return self._door.identify(authorization, address)
        except AuthenticationFailed:
            self._note(one_address(address))
            raise

    def _note(self, address: str) -> None:
        decision = decide(self._rate, self._levels.get(address, EMPTY), 1, self._clock())
        if not decision.admitted:
            self._refused.inc()
            raise RateLimited(
                f"Too many wrong API keys came from this address: {self._rate.limit} a minute are answered. Check the key.",
                retry_after=decision.retry_after if self._rate.limit else MINUTE,
            ) from None
        self._levels[address] = decision.level
        self._levels.move_to_end(address)
        if len(self._levels) > MOST:
            self._levels.popitem(last=False)
