"""Builds the parts and puts them together, in one place; opens them in order when serving begins and closes them in reverse."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any

from sightline.answers.cache import Cache
from sightline.answers.flights import Flights
from sightline.answers.leases import Leases
from sightline.engines.pool import Pool
from sightline.gateway import Gateway, Parts
from sightline.http import routes
from sightline.http.chat import Chat
from sightline.http.exchange import Bodies
from sightline.http.middleware import Edge, Lifecycle
from sightline.limits.admission import Admission
from sightline.limits.attempts import Attempts
from sightline.limits.callers import Callers, Strangers
from sightline.limits.keyfile import Scope
from sightline.limits.limiter import Limiter
from sightline.limits.quotas import Quotas
from sightline.limits.safety import Safety
from sightline.limits.shared import open_quotas
from sightline.pictures.intake import Intake
from sightline.pictures.prepare import Pictures
from sightline.settings import Settings
from sightline.store.base import Store
from sightline.store.open import open_store
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Recorder
from sightline.telemetry.traces import open_tracing

ALL_SCOPES: frozenset[Scope] = frozenset({"chat", "cache:purge", "metrics"})  # what a caller may do where there are no keys
STREAM_LOG = 512 * 2**10  # bytes of a stream that late riders can hear again; with the socket's own a stalled client holds less than 1 MB
_LAG_EVERY = 0.25  # seconds between looks at how late the event loop is


def create_app(settings: Settings, metrics: Metrics, lifecycle: Lifecycle) -> tuple[Edge, Chat]:
    """The whole gateway: an ASGI app, and the chat route beside it. Raises SettingsError when
    a setting or the key file is wrong; does no other I/O.
    """
    url = settings.store.get_secret_value()
    store = open_store(url, settings.cache, metrics)
    shared = None if url.startswith("memory:") else store  # what other replicas see too
    intake = Intake(settings.images, metrics)
    cache = Cache(store, settings.cache, metrics)
    quotas = open_quotas(store, settings.cache, metrics)
    limiter = Limiter(quotas, metrics, time.monotonic)
    parts = Parts(
        pool=Pool(settings, Admission(settings.limits, time.monotonic), metrics),
        pictures=Pictures(settings.images, metrics, intake, shared),
        cache=cache,
        flights=Flights(
            log_bytes=min(settings.cache.value_bytes, STREAM_LOG),
            keep_bytes=settings.cache.value_bytes,
            longest_look=settings.cache.timeout,
        ),
        leases=_leases(shared, cache, quotas, settings),
        limiter=limiter,
        safety=Safety(settings.safety),
    )
    gateway = Gateway(parts, settings.cache, metrics)
    tracing = open_tracing(settings.traces)
    recorder = Recorder(metrics)
    callers = Callers(settings.keys_file, settings.limits, metrics) if settings.keys_file else Strangers(settings.limits, ALL_SCOPES)
    wrong = settings.limits.failed_auth
    door = Attempts(callers, wrong, metrics, time.monotonic) if wrong is not None else callers

    @asynccontextmanager
    async def lifespan(_: Any) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if tracing is not None:
                stack.push_async_callback(asyncio.to_thread, tracing.close)
            stack.push_async_callback(store.close)
            stack.push_async_callback(intake.close)
            stack.push_async_callback(limiter.close)
            await stack.enter_async_context(parts.pool)
            stack.push_async_callback(parts.pictures.close)
            stack.push_async_callback(parts.flights.close)
            for work in (_watch_lag(metrics), limiter.run(), *([callers.watch()] if isinstance(callers, Callers) else [])):
                stack.push_async_callback(_end, asyncio.create_task(work))
            yield

    api = routes.build(gateway, settings, metrics, lifecycle, lifespan)
    edge = Edge(api, door, settings, lifecycle, metrics, recorder)
    return edge, Chat(gateway, edge, settings, Bodies(settings.requests, settings.timeouts.body, metrics), metrics, tracing)


def _leases(shared: Store | None, cache: Cache, quotas: Quotas, settings: Settings) -> Leases | None:
    if shared is None or not settings.cache.lease:
        return None
    patience = settings.timeouts.first_token
    return Leases(shared, cache, seconds=settings.cache.lease, patience=patience, others=lambda: quotas.replicas > 1)


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
