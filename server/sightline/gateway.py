"""The straight line: a request becomes a key, the key asks the store once, and an answer, wherever it comes from, is one object."""

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import msgspec
import pybase64
from blake3 import blake3

from sightline.answers.cache import Cache, Hit, LookUp, Miss
from sightline.answers.controls import Decision, decide
from sightline.answers.flights import Flights, Ride
from sightline.answers.keys import Key, make_key, question_hash
from sightline.answers.leases import Leases
from sightline.engines.pool import Pool
from sightline.errors import InvalidRequest, NotFound, SightlineError, Unavailable
from sightline.limits.callers import Caller
from sightline.limits.limiter import Cost, Limiter, Permit
from sightline.limits.safety import Safety
from sightline.pictures.prepare import Identified, Pictures
from sightline.pictures.tokens import family_of, image_tokens
from sightline.settings import Cache as CacheSettings
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.record import Record
from sightline.wire.folding import stamp, told
from sightline.wire.protocol import Base64, ChatRequest, EngineQuestion
from sightline.wire.reply import Reply, Whole

ANSWER_TOKENS = 512  # reserved for an answer whose request sets no limit; what it really took is settled
_encode = msgspec.json.Encoder().encode
MOST_TOKENS = 2**40  # that a request can cost: a caller may write a number that no arithmetic of limits holds


class Answer(msgspec.Struct, frozen=True):
    """What goes back: the reply in the form that was asked for, the header lines that say where it came from, and the caller's permit.

    `ride` is his place on the engine call, None where the call is his alone or there was none.
    """

    reply: Reply
    lines: bytes
    permit: Permit
    ride: Ride | None = None


class Asked(msgspec.Struct, frozen=True):
    """A request understood: who asks, what the cache may do for it, the identities of its pictures, and the key of its answer."""

    request: ChatRequest
    caller: Caller
    record: Record
    decision: Decision
    pictures: Sequence[Identified]
    key: Key


@dataclass(frozen=True, slots=True)
class Parts:
    """What the gateway is made of. `leases` is None where there are no other replicas to share calls with."""

    pool: Pool
    pictures: Pictures
    cache: Cache
    flights: Flights
    leases: Leases | None
    limiter: Limiter
    safety: Safety


class Gateway:
    def __init__(self, parts: Parts, settings: CacheSettings, metrics: Metrics) -> None:
        self._pool = parts.pool
        self._pictures = parts.pictures
        self._cache = parts.cache
        self._flights = parts.flights
        self._leases = parts.leases
        self._limiter = parts.limiter
        self._safety = parts.safety
        self._settings = settings
        self._results = {name: metrics.cache_requests.labels(name.lower()) for name in ("HIT", "MISS", "BYPASS", "COALESCED")}
        self._coalesced = metrics.coalesced

    async def answer(self, request: ChatRequest, caller: Caller, record: Record, *, cache_control: str | None = None) -> Answer:
        """Answers `request`; the reply has begun when this returns, and `settle` is due when it has ended. Raises SightlineError."""
        asked = await self._understand(request, caller, record, cache_control)
        began = time.perf_counter()
        permit, seen = await self._charge_and_look_up(asked)
        if record.trace is not None:  # one round trip for both
            record.trace.note("limits and cache", began, found="bypass" if seen is None else type(seen).__name__.lower())
        if isinstance(seen, Hit):
            return self._told(asked, "HIT", _replay(seen, request), permit, age=seen.age)
        ride = None
        try:
            if seen is None:
                return self._told(asked, "BYPASS", await self._ask(asked), permit)
            waiting = time.perf_counter()
            ride = self._board(asked, seen, looked=began)
            reply = await ride.reply()
            if ride.coalesced:
                record.engine_wait += time.perf_counter() - waiting
            source = "COALESCED" if ride.coalesced else "MISS" if isinstance(seen, Miss) else "BYPASS"
            return self._told(asked, source, reply, permit, ride=ride)
        except BaseException as error:
            _end(permit, error, ride)
            raise

    async def _understand(self, request: ChatRequest, caller: Caller, record: Record, cache_control: str | None) -> Asked:
        """Refuses what may not be asked, and makes the key of what may."""
        model = request.model
        self._may_use(model, caller)
        record.model = model
        self._safety.check(request, caller)
        decision = decide(request.body, request.cache, cache_control, self._policy(caller), default_ttl=caller.cache.ttl)
        pictures: Sequence[Identified] = ()
        if request.pictures:
            pictures = await self._pictures.identify(request.pictures, record.trace)
            record.images = len(pictures)
            record.image_tokens = _image_tokens(model, pictures)
            record.image_bytes = sum([found.sent_bytes for found in pictures])
        depends = self._pool.revision(model), ",".join([found.policy.name for found in pictures])
        question = request.digests.get(depends)
        if question is None:
            question = request.digests[depends] = question_hash(request.body, revision=depends[0], policy=depends[1])
        key = make_key(
            tenant=caller.tenant,
            generation=self._settings.generation,
            model=model,
            images=[found.image_hash for found in pictures],
            question=question,
            namespace=decision.namespace,
        )
        record.image_hash = key.image_hash
        record.question_hash = key.question_hash
        return Asked(request, caller, record, decision, pictures, key)

    async def _charge_and_look_up(self, asked: Asked) -> tuple[Permit, LookUp | None]:
        """The caller's permit and what is kept, in one round trip; None where the cache has no part in it."""
        decision, cost = asked.decision, _cost(asked)
        if not decision.read and not decision.write:
            return await self._limiter.take(asked.caller, cost), None
        wanted = self._cache.wanted(asked.key, read=decision.read)
        permit = await self._limiter.take(asked.caller, cost, wanted, answer=decision.read)
        try:
            found = permit.values if wanted else []  # to have nothing to ask for is not to have been told nothing
            seen = await self._cache.judge(asked.key, found, read=decision.read, max_age=decision.max_age)
            if decision.read and not isinstance(seen, Hit) and found and found[0] is not None:  # it was charged as a hit, and is none
                permit.settle(0)
                permit = await self._limiter.take_more(asked.caller, cost)
        except BaseException as error:
            _end(permit, error, None)
            raise
        return permit, seen

    def _board(self, asked: Asked, seen: LookUp, *, looked: float) -> Ride:
        """A place on the engine call for this very question, in this process or, by a lease, in any. A broken store leaves the first."""
        key, decision, stream = asked.key, asked.decision, asked.request.stream
        keeps = decision.write and isinstance(seen, Miss)
        return self._flights.board(
            # With the mark of the pictures' epochs: who asks after a purge does not board a flight from before it.
            f"{key.answer}:{seen.mark.hex()}" if decision.share and not isinstance(seen, Hit) else None,
            stream=stream,
            call=partial(self._ask, asked),
            landed=partial(self._cache.keep, key, ttl=decision.ttl, seen=seen) if keeps else None,
            lease=self._leases.lease(key, stream=stream) if self._leases and keeps and decision.share else None,
            looked=looked,
        )

    @staticmethod
    def settle(answer: Answer, record: Record) -> None:
        """The reply has ended, well or not: what it really cost is charged, and its place given back."""
        if record.cache in {"HIT", "COALESCED"}:
            answer.permit.settle(0)
        elif record.completion_tokens is not None:
            answer.permit.settle((record.prompt_tokens or 0) + record.completion_tokens)
        elif answer.ride is not None and answer.ride.goes_on:
            answer.permit.keep()  # he left, and the engine works on: nobody else is charged for it
        else:  # it broke off, or its client left: what was sent counts, a token a batch or more
            answer.permit.settle(record.batches)

    async def _ask(self, asked: Asked) -> Reply:
        """One question to an engine, with prepared pictures only."""
        tenant, record, pictures = asked.caller.tenant, asked.record, asked.pictures
        uuids = [_mark("picture", tenant, found.image_hash) for found in pictures]
        lines = b"X-Request-Id: %b\r\n" % record.request_id.encode()
        if record.trace is not None:
            lines += b"traceparent: %b\r\n" % record.trace.parent.encode()
        question = EngineQuestion(asked.request, uuids, _mark("tenant", tenant), lines)
        affinity = pictures[0].image_hash if pictures else None
        began = time.perf_counter()
        try:
            answered = await self._pool.ask(
                question,
                partial(self._data_uri, asked),
                affinity=affinity,
                priority=asked.caller.priority,
            )
        finally:
            record.engine_wait += time.perf_counter() - began
            if record.trace is not None:
                model = asked.request.model
                record.trace.note(f"chat {model}", began, **{"gen_ai.operation.name": "chat", "gen_ai.request.model": model})
        record.engine = answered.engine
        return answered.reply

    async def _data_uri(self, asked: Asked, index: int) -> Sequence[Base64]:
        """A prepared picture as pieces of a data URI: the caller's own base64 where it needed no preparing."""
        picture = await self._pictures.prepare(asked.pictures[index])
        own = asked.request.pictures[index].base64 if picture.as_sent else None
        return f"data:{picture.media_type};base64,".encode(), own if own is not None else pybase64.b64encode(picture.encoded)

    def _policy(self, caller: Caller) -> CacheSettings:
        """The cache settings, with what the caller's key says laid over them."""
        own = caller.cache
        if own.enabled and own.when is None:
            return self._settings
        return self._settings.model_copy(
            update={"enabled": own.enabled and self._settings.enabled, "when": own.when or self._settings.when}
        )

    def _told(self, asked: Asked, source: str, reply: Reply, permit: Permit, *, age: int | None = None, ride: Ride | None = None) -> Answer:
        asked.record.cache = source
        self._results[source].inc()
        if source == "COALESCED":
            self._coalesced.inc()
        key = asked.key
        lines = b"x-cache: %b\r\nx-question-hash: %b\r\n%b" % (source.encode(), key.question_hash.encode(), permit.lines())
        if key.image_hash is not None:
            lines += b"x-image-hash: %b\r\n" % key.image_hash.encode()
        if age is not None:
            lines += b"age: %d\r\n" % age
        return Answer(self._safety.masked(reply, asked.caller), lines, permit, ride)

    def _may_use(self, model: str, caller: Caller) -> None:
        """Raises NotFound, listing what there is for this caller; Unavailable while no engine has said what it serves."""
        caller.require_model(model)
        if self._pool.serves(model):
            return
        known = [name for name in sorted(self._pool.models()) if caller.may_use(name)]
        if not known:
            raise Unavailable("No engine is ready yet.", retry_after=2)
        raise NotFound(f"The model {model[:100]!r} does not exist. Served here: {', '.join(known)}.", code="model_not_found", param="model")

    def refuse_early(self, caller: Caller) -> None:
        """Raises RateLimited for a caller whose requests are known to be used up, before his body is read."""
        self._limiter.check(caller)

    @property
    def ready(self) -> bool:
        return self._pool.ready

    def models(self, caller: Caller) -> list[dict[str, Any]]:
        """The served models that the caller may use, as OpenAI lists models."""
        return [_model(model) for name, model in sorted(self._pool.models().items()) if caller.may_use(name)]

    def model(self, name: str, caller: Caller) -> dict[str, Any]:
        self._may_use(name, caller)
        return _model(self._pool.models()[name])

    async def forget_image(self, image_hash: str, caller: Caller) -> int:
        """Forgets the answers about one picture of the caller's tenant; how many there were."""
        caller.require("cache:purge")
        if len(image_hash) != 64 or not set(image_hash) <= set("0123456789abcdef"):
            raise InvalidRequest("An image hash is 64 hexadecimal digits, as x-image-hash gives it.", param="image_hash")
        return await self._cache.forget_image(caller.tenant, image_hash)


def _replay(hit: Hit, request: ChatRequest) -> Reply:
    """A kept answer in the form asked for, with an id and a time of its own."""
    fresh, now = f"chatcmpl-{os.urandom(16).hex()}", int(time.time())
    body = stamp(hit.tail, id=fresh, created=now)
    return told(body, id=fresh, created=now) if request.stream else Whole(body)


def _cost(asked: Asked) -> Cost:
    """What the request will cost if an engine is asked: its text at four bytes a token, its pictures by the model's formula, its answer
    at its longest.
    """
    pictures = len(asked.pictures)
    if not asked.caller.counts_tokens:
        return Cost(images=pictures)
    body = asked.request.body
    longest = body.get("max_completion_tokens")
    if type(longest) is not int:
        longest = body.get("max_tokens")
    if type(longest) is not int:
        longest = ANSWER_TOKENS
    choices = body.get("n")
    most = max(longest, 0) * (max(choices, 1) if type(choices) is int else 1)
    text = len(_encode(body["messages"])) // 4
    return Cost(tokens=min(text + asked.record.image_tokens + most, MOST_TOKENS), images=pictures)


def _image_tokens(model: str, pictures: Sequence[Identified]) -> int:
    family = family_of(model)
    return sum([image_tokens(family, found.width, found.height) for found in pictures])


def _end(permit: Permit, error: BaseException, ride: Ride | None) -> None:
    """Nothing came of it: tokens and place go back; the request too, unless the caller had it wrong or left."""
    if ride is not None and ride.goes_on:
        permit.keep()  # or two clients with one question, of whom the first leaves at once, would have its answer for nothing
    elif isinstance(error, SightlineError) and error.status >= 500:
        permit.refund()
    else:
        permit.settle(0)


@lru_cache(16_384)
def _mark(purpose: str, *parts: str) -> str:
    """What the engine is told a picture or tenant is called: it keeps tenants apart in the engine's own caches, and tells it nothing."""
    return blake3(msgspec.json.encode(parts), derive_key_context=f"sightline engine 1 {purpose}").hexdigest(16)


def _model(listed: Mapping[str, Any]) -> dict[str, Any]:
    """What a caller may know of a model: not where its files lie."""
    return {name: listed[name] for name in ("id", "object", "created", "owned_by", "parent", "max_model_len") if name in listed}
