"""Chooses the store by its URL; the one place that knows them all."""

import time
from collections.abc import Callable

from sightline.settings import Cache
from sightline.store.address import parse
from sightline.store.base import OperableStore
from sightline.store.memory import MemoryStore
from sightline.store.redis import RedisStore
from sightline.store.server import Server
from sightline.telemetry.metrics import Metrics

SLACK_BYTES = 64 * 2**10  # what an answer's own bookkeeping and the seal may add to `cache.value_bytes`


def open_store(url: str, cache: Cache, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> OperableStore:
    """The store at `url`, not yet connected: that happens with the first call. Raises SettingsError when `url` is wrong."""
    address = parse(url)
    largest = cache.value_bytes + SLACK_BYTES
    if address.kind == "memory":
        return MemoryStore(cache.memory_bytes, largest, clock)
    return RedisStore(Server(address, cache.timeout), metrics, largest=largest, clock=clock)
