"""Chooses the store by its URL; the one place that knows them all."""

import time
from collections.abc import Callable

from sightline.settings import Cache, SettingsError
from sightline.store.address import parse
from sightline.store.base import OperableStore
from sightline.store.cluster import Cluster
from sightline.store.memory import MemoryStore
from sightline.store.redis import RedisStore
from sightline.store.server import Server
from sightline.telemetry.metrics import Metrics

SLACK_BYTES = 64 * 2**10  # what an answer's own bookkeeping and the seal may add to `cache.value_bytes`


def open_store(url: str, cache: Cache, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> OperableStore:
    """The store at `url`, not yet connected: that happens with the first call. Raises SettingsError when `url` is wrong."""
    address = parse(url)
    largest = cache.value_bytes + SLACK_BYTES
    store: OperableStore
    if address.kind == "memory":
        store = MemoryStore(cache.memory_bytes, largest, clock)
    elif address.kind == "cluster":
        store = RedisStore(Cluster(address, cache.timeout), metrics, largest=largest, clock=clock)
    else:
        store = RedisStore(Server(address, cache.timeout), metrics, largest=largest, clock=clock)
    return store if cache.encryption_keys is None else _seal(store, cache.encryption_keys.get_secret_value(), metrics)


def _seal(store: OperableStore, keys: str, metrics: Metrics) -> OperableStore:
    try:
        from sightline.store.sealed import SealedStore, read_keys
    except ImportError:
        raise SettingsError("cache.encryption_keys: this needs the extra `encryption`: pip install 'sightline[encryption]'") from None
    return SealedStore(store, read_keys(keys), metrics)
