"""How many connections are open from each address: one that opens them without end must not use up the process's file descriptors."""

from collections import Counter
from collections.abc import Sequence
from ipaddress import ip_network

from sightline.http.forwarded import is_within
from sightline.limits.callers import one_address
from sightline.telemetry.metrics import Metrics


class Connections:
    """`most` None is no limit. A `trusted` proxy brings everybody's, so its own are not counted."""

    def __init__(self, most: int | None, trusted: Sequence[str], metrics: Metrics) -> None:
        self._most = most
        self._trusted = tuple(ip_network(word) for word in trusted)
        self._refused = metrics.rate_limited.labels("connections")
        self._open: Counter[str] = Counter()

    def enter(self, address: str) -> bool:
        """Whether one more from `address` is welcome; it counts until `leave` all the same."""
        if self._most is None or is_within(address, self._trusted):
            return True
        whose = one_address(address)
        self._open[whose] += 1
        if self._open[whose] <= self._most:
            return True
        self._refused.inc()
        return False

    def leave(self, address: str) -> None:
        if self._most is None or is_within(address, self._trusted):
            return
        whose = one_address(address)
        self._open[whose] -= 1
        if self._open[whose] <= 0:
            del self._open[whose]
