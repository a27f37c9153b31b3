"""The engines behind the gateway: who serves what, who is well, and who is asked.

A picture's questions go to one engine, by rendezvous hashing of the picture, so that the engine that has seen it finds it in its cache;
text goes to the least loaded. An engine with more than its share of calls passes its turn. What fails before its first event may be
asked once more, of another engine (or on a new connection), within a budget. Engines behind a name come and go: see `discovery`.
"""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Container, Sequence
from typing import Any, NamedTuple, Self

import structlog
from blake3 import blake3

from sightline.engines.client import Client, EngineReply, EngineStream, NotAnswered
from sightline.engines.discovery import LOOK_EVERY, Directory
from sightline.engines.health import Health, RetryBudget
from sightline.engines.reuse import Reuse, is_miss
from sightline.errors import EngineError, EngineRefused, EngineTimeout, SightlineError, Unavailable
from sightline.limits.admission import Admission, Place
from sightline.limits.keyfile import Priority
from sightline.resolving import Names, Resolve
from sightline.settings import Settings
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import Base64, EngineQuestion
from sightline.wire.reply import Reply, Sink, Whole

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
        self.trouble: str | None = "not asked yet"  # why it is not up
        self.models: dict[str, dict[str, Any]] = {}
        self.revisions: dict[str, str] = {}
        self.calls = 0
        self.waiting = 0  # requests in its own queue, as its metrics say
        self.health = Health()
        self.reuse = Reuse()
        self.gauge = metrics.engine_up.labels(self.name)
        self.gauge.set(0)

    async def look(self) -> None:
        """One health check; a newly seen engine is asked for its models."""
        self.trouble = await self.client.trouble()
        if self.trouble is None:
            try:
                self.models = {str(model.get("id")): model for model in await self.client.models()}
                self.revisions = {name: f"{model.get('root')}|{model.get('parent')}" for name, model in self.models.items()}
            except SightlineError as error:
                self.trouble = None if self.models else error.message
        up = self.trouble is None
        if up != self.up:
            self.reuse.clear()  # another process may be answering there now
            if up:
                _log.info("engine.up", engine=self.name, models=sorted(self.models))
            else:
                _log.warning("engine.down", engine=self.name, models=sorted(self.models), reason=self.trouble)
        self.up = up
        self.gauge.set(up)


Prepare = Callable[[int], Awaitable[Sequence[Base64]]]


class Pool:
    def __init__(
        self,
        settings: Settings,
        admission: Admission,
        metrics: Metrics,
        clock: Callable[[], float] = time.monotonic,
        *,
        resolve: Resolve | None = None,
        look_every: float = LOOK_EVERY,
    ) -> None:
        self._admission = admission
        metrics.engine_waiting.set_function(lambda: admission.waiting)
        metrics.engine_limit.set_function(lambda: admission.limit)
        self._polls_queue = settings.limits.engine_queue is not None
        self._key = settings.engine_key.get_secret_value() if settings.engine_key else None
        self._timeouts = settings.timeouts
        self._directory = Directory(settings.engines, resolve or Names(limit=4))
        self._look_every = look_every
        self.members: list[Member] = []
        self._empty: set[str] = set()
        self._metrics = metrics
        self._clock = clock
        self._budget = RetryBudget()
        self._durations: dict[tuple[str, str], Any] = {}
        self._watching: dict[Member, asyncio.Task[None]] = {}
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self._settle()
        for member in self.members:
            if not member.up:
                note = "it is asked again every 2 s; /health/ready says 503 until one is up"
                _log.warning("engine.unreachable", engine=member.name, reason=member.trouble, note=note)
        if self._directory.changes:
            self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*([self._following] if self._following else []), *self._watching.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(member.client.close() for member in self.members))

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._look_every)
            await self._settle()

    async def _settle(self) -> None:
        """Takes in the engines that are new, once they have been looked at, and lets go of those that are no more."""
        engines = await self._directory.look({member.client.url for member in self.members if member.up})
        known = {member.client.url for member in self.members}
        fresh = [Member(Client(url, self._key, self._timeouts), self._metrics) for url in engines if url not in known]
        self.members = [*self.members, *fresh]  # without models they are asked nothing yet
        await asyncio.gather(*(member.look() for member in fresh))
        for member in fresh:
            self._watching[member] = asyncio.create_task(self._watch(member))
            if self._directory.changes:
                _log.info("engine.joined", engine=member.name)
        for member in [member for member in self.members if member.client.url not in engines]:
            await self._let_go(member)
        self._show_empty(set(self._directory.empty))

    async def _let_go(self, member: Member) -> None:
        """Asks it nothing more. What it is answering it may finish; its connections close as they fall idle."""
        self.members = [other for other in self.members if other is not member]
        watching = self._watching.pop(member)
        watching.cancel()
        await asyncio.wait([watching])
        await member.client.close()
        self._metrics.engine_up.remove(member.name)
        there = {other.name for other in self.members}
        for engine, model in [series for series in self._durations if series[0] not in there]:
            del self._durations[engine, model]
            self._metrics.engine_duration.remove(engine, model)
        self._count_waiting()
        _log.info("engine.left", engine=member.name, calls=member.calls)

    def _show_empty(self, names: set[str]) -> None:
        """A name without engines is an engine that is down: else nothing would show that there are none."""
        for name in names - self._empty:
            self._metrics.engine_up.labels(name).set(0)
        for name in self._empty - names:
            self._metrics.engine_up.remove(name)
        self._empty = names

    async def _watch(self, member: Member) -> None:
        while True:
            await asyncio.sleep(_POLL)
            await member.look()
            if self._polls_queue:
                member.waiting = await member.client.waiting()
                self._count_waiting()

    def _count_waiting(self) -> None:
        self._admission.engines_waiting = sum(member.waiting for member in self.members)

    @property
    def ready(self) -> bool:
        return any(member.up for member in self.members)

    def models(self) -> dict[str, dict[str, Any]]:
        """Every model that an engine lists, by its id."""
        return {name: model for member in self.members for name, model in member.models.items()}

    def serves(self, model: str) -> bool:
        return any(model in member.models for member in self.members)

    def revision(self, model: str) -> str:
        """What the engines serve under that name, as far as they say: another path or parent is another model."""
        return next((member.revisions[model] for member in reversed(self.members) if model in member.revisions), "")

    async def ask(
        self,
        question: EngineQuestion,
        prepare: Prepare,
        *,
        affinity: str | None,
        priority: Priority = "normal",
    ) -> Answered:
        """Asks one engine, and once more where that can help. Returns when the answer has begun. Raises SightlineError.

        `prepare` is asked for those of the question's pictures, by their place in it, that the engine does not have.
        """
        place = await self._admission.enter(priority)
        try:
            member, reply, started = await self._ask_somebody(question, prepare, affinity)
        except BaseException as error:
            place.leave(failed=isinstance(error, _FAILURES), counts=isinstance(error, _FAILURES))
            raise
        call = _Call(member, place, self._duration(member.name, question.model), self._clock, started, self._failed)
        if isinstance(reply, Whole):
            call.end()
            return Answered(reply, member.name)
        return Answered(_Counted(reply, call), member.name)

    async def _ask_somebody(self, question: EngineQuestion, prepare: Prepare, affinity: str | None) -> tuple[Member, EngineReply, float]:
        self._budget.request()
        tried: list[Member] = []
        while True:
            member = self._choose(question.model, affinity, tried)
            started = self._clock()
            try:
                return member, await self._ask(member, question, prepare), started
            except _FAILURES as error:
                another = any(other is not member and other.up and question.model in other.models for other in self.members)
                if tried or not (another or isinstance(error, NotAnswered)) or not self._budget.take(self._clock()):
                    raise
                tried.append(member)
                self._metrics.engine_retries.labels(error.code or "").inc()

    async def _ask(self, member: Member, question: EngineQuestion, prepare: Prepare) -> EngineReply:
        """A reply that has begun counts as a call of `member` until somebody says that it has ended."""
        member.health.asked(self._clock())
        member.calls += 1
        try:
            reply = await self._chat(member, question, prepare)
        except BaseException as error:
            member.calls -= 1
            if isinstance(error, _FAILURES):
                self._failed(member, error)
            else:
                member.health.abandoned()
            raise
        member.health.succeeded(self._clock())
        return reply

    def _failed(self, member: Member, error: SightlineError) -> None:
        """Before its answer or within it: either way the engine is to blame."""
        member.health.failed(self._clock())
        self._metrics.backend_errors.labels("engine", error.code or "").inc()

    def _duration(self, engine: str, model: str) -> Any:
        child = self._durations.get((engine, model))
        if child is None:
            child = self._durations[engine, model] = self._metrics.engine_duration.labels(engine, model)
        return child

    async def _chat(self, member: Member, question: EngineQuestion, prepare: Prepare) -> EngineReply:
        """Names the pictures that the engine has; where it has let go of one, sends them all."""
        uuids = question.uuids
        known = member.reuse.known(uuids, self._clock()) if uuids else frozenset()
        try:
            reply = await member.client.chat(await _body(question, prepare, known), stream=question.stream, lines=question.lines)
        except EngineRefused as refused:
            if not (known and is_miss(refused)):
                raise
            member.reuse.missed(uuids, self._clock())
            self._metrics.engine_retries.labels("picture_gone").inc()
            reply = await member.client.chat(await _body(question, prepare, ()), stream=question.stream, lines=question.lines)
        if uuids:
            member.reuse.answered(uuids, reused=bool(known))
        return reply

    def _choose(self, model: str, affinity: str | None, tried: Sequence[Member]) -> Member:
        now = self._clock()
        if len(self.members) == 1 and model in self.members[0].models:
            return self.members[0]
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


async def _body(question: EngineQuestion, prepare: Prepare, known: Container[str]) -> bytes:
    return question.body({uuid: await prepare(place) for place, uuid in enumerate(question.uuids) if uuid not in known})


class _Call:
    """A call of an engine that was begun; it ends once."""

    def __init__(
        self,
        member: Member,
        place: Place,
        duration: Any,
        clock: Callable[[], float],
        started: float,
        on_failure: Callable[[Member, SightlineError], None],
    ) -> None:
        self._member = member
        self._on_failure = on_failure
        self._place = place
        self._duration = duration
        self._clock = clock
        self._started = started
        self._over = False

    def fail(self, error: SightlineError) -> None:
        if not self._over:
            self._on_failure(self._member, error)
        self.end(failed=True)

    def end(self, *, failed: bool = False, counts: bool = True) -> None:
        if not self._over:
            self._over = True
            self._member.calls -= 1
            self._duration.observe(self._clock() - self._started)
            self._place.leave(failed=failed, counts=counts)


class _Counted:
    """A stream that counts as a call until it ends or is closed."""

    def __init__(self, stream: EngineStream, call: _Call) -> None:
        self._stream = stream
        self._call = call

    async def pour(self, into: Sink) -> None:
        try:
            await self._stream.pour(into)
        except BaseException as error:
            if isinstance(error, _FAILURES) and self._stream.failed:  # what `into` makes of the answer is not the engine's fault
                self._call.fail(error)
            else:
                self._call.end(counts=False)
            raise
        self._call.end()

    async def aclose(self) -> None:
        self._call.end(counts=False)
        with contextlib.suppress(SightlineError):
            await self._stream.aclose()
