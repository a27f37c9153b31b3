"""The engines behind the gateway: who serves what, who is well, and who is asked.

A picture's questions go to one engine, by rendezvous hashing of the picture, so that the engine that has seen it finds it in its cache;
text goes to the least loaded. An engine with more than its share of calls passes its turn. What fails before its first event may be
asked once more, of another engine (or on a new connection), within a budget.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Self

import structlog
from blake3 import blake3

from sightline.engines.client import Client, NotAnswered
from sightline.engines.health import Health, RetryBudget
from sightline.engines.reuse import Reuse, is_miss
from sightline.errors import EngineError, EngineRefused, EngineTimeout, NotFound, SightlineError, Unavailable
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import EngineQuestion
from sightline.wire.reply import Event, Reply, Stream, Whole

_log = structlog.get_logger()

_POLL = 2.0
_FAILURES = (EngineError, EngineTimeout, Unavailable)  # the engine's fault; its own 4xx and a caller's leaving are not


class Answered(NamedTuple):
    reply: Reply
    engine: str


class Member:
    """One engine with what is known of it: whether it is up, which models it lists, how many calls it has."""

    def __init__(self, client: Client, metrics: Metrics) -> None:
        self.client = client
        self.name = client.url.split("://", 1)[1]
        self.up = False
        self.models: dict[str, dict[str, Any]] = {}
        self.calls = 0
        self.health = Health()
        self.reuse = Reuse()
        self.gauge = metrics.engine_up.labels(self.name)
        self.gauge.set(0)

    async def look(self) -> None:
        """One health check; a newly seen engine is asked for its models."""
        up = await self.client.healthy()
        if up:
            try:
                self.models = {str(model.get("id")): model for model in await self.client.models()}
            except SightlineError:
                up = bool(self.models)
        if up != self.up:
            self.reuse.clear()  # another process may be answering there now
            _log.log(20 if up else 30, "engine.up" if up else "engine.down", engine=self.name, models=sorted(self.models))
        self.up = up
        self.gauge.set(up)


class Pool:
    def __init__(self, settings: Settings, metrics: Metrics, clock: Callable[[], float] = time.monotonic) -> None:
        key = settings.engine_key.get_secret_value() if settings.engine_key else None
        self.members = [Member(Client(url, key, settings.timeouts), metrics) for url in settings.engines]
        self._metrics = metrics
        self._clock = clock
        self._budget = RetryBudget()
        self._watching: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        await asyncio.gather(*(member.look() for member in self.members))
        for member in self.members:
            if not member.up:
                _log.warning(
                    "engine.unreachable", engine=member.name, note="it is asked again every 2 s; /health/ready says 503 until one is up"
                )
        self._watching = [asyncio.create_task(self._watch(member)) for member in self.members]
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self._watching:
            task.cancel()
        await asyncio.gather(*self._watching, return_exceptions=True)
        await asyncio.gather(*(member.client.close() for member in self.members))

    async def _watch(self, member: Member) -> None:
        while True:
            await asyncio.sleep(_POLL)
            await member.look()

    @property
    def ready(self) -> bool:
        return any(member.up for member in self.members)

    def models(self) -> dict[str, dict[str, Any]]:
        """Every model that an engine lists, by its id."""
        return {name: model for member in self.members for name, model in member.models.items()}

    def revision(self, model: str) -> str:
        """What the engines serve under that name, as far as they say: another path or parent is another model."""
        listed = self.models().get(model, {})
        return f"{listed.get('root')}|{listed.get('parent')}"

    def check(self, model: str) -> None:
        """Raises NotFound, listing what there is, for a model that no engine serves; Unavailable while no list is known."""
        if any(model in member.models for member in self.members):
            return
        known = sorted(self.models())
        if not known:
            raise Unavailable("No engine is ready yet.", retry_after=2)
        raise NotFound(f"The model {model[:100]!r} does not exist. Served here: {', '.join(known)}.", code="model_not_found", param="model")

    async def ask(self, question: EngineQuestion, *, affinity: str | None, request_id: str) -> Answered:
        """Asks one engine, and once more where that can help. Returns when the answer has begun. Raises SightlineError."""
        self._budget.request()
        tried: list[Member] = []
        while True:
            member = self._choose(question.model, affinity, tried)
            try:
                return Answered(await self._ask(member, question, request_id), member.name)
            except _FAILURES as error:
                another = any(other is not member and other.up and question.model in other.models for other in self.members)
                if tried or not (another or isinstance(error, NotAnswered)) or not self._budget.take(self._clock()):
                    raise
                tried.append(member)
                self._metrics.engine_retries.labels(error.code).inc()

    async def _ask(self, member: Member, question: EngineQuestion, request_id: str) -> Reply:
        started = self._clock()
        member.health.asked(started)
        member.calls += 1
        ended = _Ended(member, self._metrics.engine_duration.labels(member.name, question.model), self._clock, started)
        try:
            reply = await self._chat(member, question, request_id)
        except _FAILURES as error:
            member.health.failed(self._clock())
            self._metrics.backend_errors.labels("engine", error.code).inc()
            ended()
            raise
        except BaseException:
            member.health.abandoned()
            ended()
            raise
        member.health.succeeded(self._clock())
        if isinstance(reply, Whole):
            ended()
            return reply
        return _Counted(reply, ended)

    async def _chat(self, member: Member, question: EngineQuestion, request_id: str) -> Reply:
        """Names the pictures that the engine has; where it has let go of one, sends them all."""
        known = member.reuse.known(question.uuids, self._clock())
        try:
            reply = await member.client.chat(question.body(known), stream=question.stream, request_id=request_id)
        except EngineRefused as refused:
            if not (known and is_miss(refused)):
                raise
            member.reuse.missed(question.uuids, self._clock())
            self._metrics.engine_retries.labels("picture_gone").inc()
            reply = await member.client.chat(question.body(()), stream=question.stream, request_id=request_id)
        member.reuse.answered(question.uuids, reused=bool(known))
        return reply

    def _choose(self, model: str, affinity: str | None, tried: Sequence[Member]) -> Member:
        now = self._clock()
        serving = [m for m in self.members if model in m.models and m not in tried] or [m for m in self.members if model in m.models]
        well = [m for m in serving if m.up and m.health.may_ask(now)] or serving  # the last engine is never ejected
        if not well:
            raise Unavailable("No engine is ready.", retry_after=2)
        if len(well) == 1:
            return well[0]
        if affinity is None:
            return min(well, key=lambda m: m.calls)
        share = 1.25 * (sum(m.calls for m in well) + 1) / len(well)
        ranked = sorted(well, key=lambda m: blake3(f"{affinity}|{m.name}".encode()).digest(), reverse=True)
        return next((m for m in ranked if m.calls < share), ranked[0])


class _Ended:
    """Notes once that a call is over."""

    def __init__(self, member: Member, duration: Any, clock: Callable[[], float], started: float) -> None:
        self._member: Member | None = member
        self._duration = duration
        self._clock = clock
        self._started = started

    def __call__(self) -> None:
        if self._member is not None:
            self._member.calls -= 1
            self._member = None
            self._duration.observe(self._clock() - self._started)


class _Counted:
    """A stream that counts as a call of its engine until it ends or is closed."""

    def __init__(self, stream: Stream, ended: _Ended) -> None:
        self._stream = stream
        self._ended = ended

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Event, ...]:
        try:
            return await self._stream.__anext__()
        except BaseException:
            self._ended()
            raise

    async def aclose(self) -> None:
        self._ended()
        with contextlib.suppress(SightlineError):
            await self._stream.aclose()
