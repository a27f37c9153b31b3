"""A Redis store for fault tests: the product's own, with times that make a test short and a log that can be read."""

from contextlib import suppress
from typing import Any

import structlog
from structlog.testing import CapturingLogger

from sightline.breaker import Breaker
from sightline.store.address import parse
from sightline.store.base import StoreError
from sightline.store.redis import RedisStore
from sightline.store.server import Server
from sightline.telemetry.metrics import Metrics

LIMIT = 0.4  # far above what a healthy Redis takes on a busy machine, far below what a test would call hanging
LARGEST = 100_000


class Rehearsal:
    """The store, its metrics and its log, over the Redis on `port`."""

    def __init__(self, port: int, *, limit: float = LIMIT, clock: Any = None) -> None:
        self.metrics = Metrics()
        self.log = CapturingLogger()
        self.breaker = Breaker(failures=3, first_delay=0.05, longest_delay=0.2)
        log = structlog.wrap_logger(self.log, processors=[])
        link = Server(parse(f"redis://127.0.0.1:{port}"), limit)
        options = {"clock": clock} if clock else {}
        self.store = RedisStore(link, self.metrics, largest=LARGEST, breaker=self.breaker, log=log, **options)

    @property
    def lines(self) -> list[str]:
        """The events logged so far."""
        return [call.kwargs["event"] for call in self.log.calls]

    def errors(self, operation: str) -> float:
        return self.metrics.registry.get_sample_value("sightline_backend_errors_total", {"backend": "redis", "operation": operation}) or 0.0

    def breaker_metric(self) -> float | None:
        return self.metrics.registry.get_sample_value("sightline_backend_breaker_state", {"backend": "redis"})

    async def works(self) -> bool:
        """Whether every kind of call does what it should, now."""
        with suppress(StoreError):
            await self.store.put("{trial}", b"value", 60, ["trial group"])
            found = await self.store.get(["{trial}", "none"]) == [b"value", None]
            taken = await self.store.acquire("lease", "owner", 60)
            await self.store.release("lease", "owner")
            return found and taken and await self.store.forget("trial group") == 1
        return False
