"""Builds the parts and puts them together, in one place; opens them in order when serving begins and closes them in reverse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from sightline.answers.cache import Cache
from sightline.answers.flights import Flights
from sightline.answers.leases import Leases
from sightline.engines.pool import Pool
from sightline.gateway import Gateway
from sightline.http import routes
from sightline.http.chat import ChatEndpoint
from sightline.http.middleware import Edge, Lifecycle
from sightline.limits.callers import Callers, Strangers
from sightline.limits.keyfile import Scope
from sightline.pictures.intake import Intake
from sightline.pictures.prepare import Pictures
from sightline.settings import Settings
from sightline.store.memory import MemoryStore
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Recorder

ALL_SCOPES: frozenset[Scope] = frozenset({"chat", "cache:purge", "metrics"})  # what a caller may do where there are no keys
_LAG_EVERY = 0.25  # seconds between looks at how late the event loop is


def create_app(settings: Settings, metrics: Metrics, lifecycle: Lifecycle) -> Edge:
    """The whole gateway as an ASGI app. Raises SettingsError when a setting or the key file is wrong; does no other I/O."""
    store = open_store(settings.store.get_secret_value(), settings.cache, metrics)
    shared = None if isinstance(store, MemoryStore) else store  # what other replicas see too
    pool = Pool(settings, metrics)
    intake = Intake(settings.images, metrics)
    pictures = Pictures(settings.images, metrics, intake, shared)
    cache = Cache(store, settings.cache, metrics)
    leases = None
    if shared is not None and settings.cache.lease:
        leases = Leases(shared, cache, seconds=settings.cache.lease, patience=settings.timeouts.first_token)
    flights = Flights(log_bytes=settings.cache.value_bytes, keep_bytes=settings.cache.value_bytes)
    gateway = Gateway(pool, pictures, cache, flights, leases, settings.cache, metrics)
    recorder = Recorder(metrics)
    door = (
        Callers(settings.keys_file, settings.limits, metrics)
        if settings.keys_file
        else Strangers(settings.limits, frozenset({"chat", "cache:purge", "metrics"}))
    )

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            stack.push_async_callback(intake.close)
            await stack.enter_async_context(pool)
            stack.push_async_callback(pictures.close)
            stack.push_async_callback(flights.close)
            for work in (_watch_lag(metrics), *([door.watch()] if isinstance(door, Callers) else [])):
                stack.push_async_callback(_end, asyncio.create_task(work))
            yield

    chat = ChatEndpoint(gateway, settings, metrics, recorder)
    api = routes.build(gateway, chat, settings, metrics, lifecycle, lifespan)
    return Edge(api, chat, door, lifecycle, metrics, recorder)


async def _watch_lag(metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    while True:
        due = loop.time() + _LAG_EVERY
        await asyncio.sleep(_LAG_EVERY)
        metrics.event_loop_lag.observe(max(loop.time() - due, 0.0))


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
