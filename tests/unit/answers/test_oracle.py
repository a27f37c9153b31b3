"""Ten thousand random requests against a model: what the cache and the flights give is what the model says, byte for byte.

The engine is a function of everything that may change an answer, plus the number of the call, so that a wrong answer and a stale one both
show. The model is a dictionary; it knows nothing of hashes, keys, folding or flights.
"""

import asyncio
import unicodedata
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from tests.fakes.pouring import chunks_of
from tests.unit.answers.rig import USAGE, chunk, completion

from sightline.answers.cache import Cache, Hit
from sightline.answers.controls import decide
from sightline.answers.flights import Flights
from sightline.answers.keys import make_key, question_hash
from sightline.errors import EngineError
from sightline.settings import Cache as CacheSettings
from sightline.store.memory import MemoryStore
from sightline.telemetry.metrics import Metrics
from sightline.wire.folding import Fold, expand, restamp, stamp
from sightline.wire.reply import Batch, Reply, Sink, Told, Whole, hand
from sightline.wire.sse import batch_of

SETTINGS = CacheSettings()
IMAGES = {"cat": "ca" * 32, "dog": "d0" * 32, "owl": "0a" * 32}
OUTCOMES = ["stop", "stop", "stop", "length", "refused", "broken off"]


@dataclass(frozen=True)
class Request:
    tenant: str
    model: str
    revision: str
    pictures: tuple[tuple[str, str | None], ...]
    text: str
    system: str | None
    more: tuple[tuple[str, Any], ...]
    user: str | None
    cache: tuple[tuple[str, Any], ...]

    def body(self, *, stream: bool) -> dict[str, Any]:
        parts: list[dict[str, Any]] = [
            {"type": "image_url", "image_url": {"url": f"picture:{index}"} | ({"detail": detail} if detail else {})}
            for index, (_, detail) in enumerate(self.pictures)
        ]
        messages: list[dict[str, Any]] = [{"role": "user", "content": [*parts, {"type": "text", "text": self.text}]}]
        if self.system is not None:
            messages.insert(0, {"role": "system", "content": self.system})
        return {"model": self.model, "messages": messages, "stream": stream, "user": self.user} | dict(self.more)

    @property
    def meaning(self) -> str:
        """All that may change the answer, told apart without any of the code under test."""
        text = unicodedata.normalize("NFC", self.text).rstrip(" \t\r\n")
        return repr((self.model, self.revision, self.pictures, text, self.system, sorted(self.more)))

    @property
    def namespace(self) -> str:
        return str(dict(self.cache).get("namespace", ""))

    @property
    def is_cacheable(self) -> bool:
        more, cache = dict(self.more), dict(self.cache)
        return more.get("n", 1) == 1 and (not more.get("temperature") or "seed" in more or bool(cache.get("use")))


PLAIN = Request("acme", "plates", "r1", (("cat", None),), "What?", None, (), None, ())
VARIATIONS: list[dict[str, Any]] = [
    {},
    {"user": "u1"},
    {"text": "What? \n"},
    {"cache": (("no-cache", True),)},
    {"cache": (("no-store", True),)},
    {"cache": (("no-cache", True), ("no-store", True))},
    {"cache": (("ttl", 5),)},
    {"cache": (("namespace", "n"),)},
    {"tenant": "other"},
    {"model": "lora"},
    {"revision": "r2"},
    {"pictures": (("dog", None),)},
    {"pictures": (("cat", "low"),)},
    {"pictures": (("cat", None), ("dog", None))},
    {"pictures": (("dog", None), ("cat", None))},
    {"pictures": ()},
    {"text": "picture:0"},
    {"text": "caf\u00e9"},
    {"text": "cafe\u0301"},
    {"system": "Be short."},
    {"system": "Be short. "},
    {"more": (("temperature", 0),)},
    {"more": (("temperature", 0.9),)},
    {"more": (("temperature", 0.9),), "cache": (("use", True),)},
    {"more": (("temperature", 0.9), ("seed", 1))},
    {"more": (("n", 2),)},
]
# Requests that differ in a thing or two, so that many are asked again and the rest are near misses.
requests = st.builds(
    lambda one, other: Request(**(PLAIN.__dict__ | one | other)),
    st.sampled_from(VARIATIONS[:8] + VARIATIONS),
    st.sampled_from([{}, {}, {}, *VARIATIONS]),
)


@dataclass
class Kept:
    answer: bytes
    expires: float


@dataclass
class Model:
    """What ought to be kept: by tenant, namespace and meaning."""

    kept: dict[tuple[str, str, str], tuple[Request, Kept]] = field(default_factory=dict)

    def find(self, request: Request, now: float) -> bytes | None:
        found = self.kept.get((request.tenant, request.namespace, request.meaning))
        return found[1].answer if found is not None and found[1].expires > now else None

    def keep(self, request: Request, answer: bytes, now: float) -> None:
        ttl = dict(request.cache).get("ttl", SETTINGS.ttl)
        self.kept[(request.tenant, request.namespace, request.meaning)] = (request, Kept(answer, now + ttl))

    def forget(self, tenant: str, picture: str) -> None:
        for key, (request, _) in list(self.kept.items()):
            if request.tenant == tenant and any(name == picture for name, _ in request.pictures):
                del self.kept[key]


class Gateway:
    """The straight line: decide, look up, board."""

    def __init__(self) -> None:
        self.now = 1e6
        self.calls: list[bytes | None] = []
        self.store = MemoryStore(10**8, 10**6, lambda: self.now)
        self.cache = Cache(self.store, SETTINGS, Metrics(), lambda: self.now)
        self.flights = Flights(log_bytes=10**6, keep_bytes=10**6)

    async def answer(self, request: Request, outcome: str, *, stream: bool) -> tuple[str, Reply]:
        body = request.body(stream=stream)
        decision = decide(body, dict(request.cache), None, SETTINGS)
        key = make_key(
            tenant=request.tenant,
            generation="1",
            model=request.model,
            images=[IMAGES[name] for name, _ in request.pictures],
            question=question_hash(body, revision=request.revision, policy=""),
            namespace=decision.namespace,
        )

        async def call() -> Reply:
            return await self._engine(request, outcome, stream=stream)

        if not (decision.read or decision.write):
            return "BYPASS", await call()
        seen = await self.cache.look_up(key, read=decision.read, max_age=decision.max_age)
        if isinstance(seen, Hit):
            body_now = stamp(seen.tail, id="chatcmpl-new", created=1)
            return "HIT", Told(batch_of(*expand(body_now, id="chatcmpl-new", created=1))) if stream else Whole(body_now)

        def keep(answer: bytes) -> bool:
            return self.cache.keep(key, answer, decision.ttl, seen)

        ride = self.flights.board(
            key.answer + seen.mark.hex() if decision.share else None, stream=stream, call=call, landed=keep if decision.write else None
        )
        reply = await ride.reply()
        return "COALESCED" if ride.coalesced else "MISS", reply

    async def _engine(self, request: Request, outcome: str, *, stream: bool) -> Reply:
        """Answers with what the request means and the number of the call."""
        number = len(self.calls)
        self.calls.append(None)
        text = f"{request.meaning}#{number}"
        finish = outcome if outcome in {"stop", "length"} else "stop"
        self.calls[number] = completion(text, finish_reason=finish)
        await asyncio.sleep(0)
        if outcome == "refused":
            raise EngineError("no")
        if not stream:
            if outcome == "broken off":
                raise EngineError("no")
            return Whole(completion(text, finish_reason=finish))
        return Words(text, finish, broken=outcome == "broken off")


class Words:
    """A streamed answer that comes in pieces of seven letters, and may break off."""

    def __init__(self, text: str, finish: str, *, broken: bool) -> None:
        self._batches = self._said(text, finish, broken=broken)

    @staticmethod
    def _said(text: str, finish: str, *, broken: bool) -> Iterator[Batch]:
        yield batch_of(chunk({"role": "assistant", "content": ""}))
        for at in range(0, len(text), 7):
            yield batch_of(chunk({"content": text[at : at + 7]}))
        if broken:
            raise EngineError("no")
        usage = {name: value for name, value in USAGE.items() if value is not None}
        yield batch_of(chunk({}, finish_reason=finish), chunk(usage=usage, system_fingerprint="vllm-0.32.0"))

    async def pour(self, into: Sink) -> None:
        for said in self._batches:
            await asyncio.sleep(0)
            await hand(said, into)

    async def aclose(self) -> None: ...


async def read(reply: Reply) -> bytes:
    """The whole answer that a client has got, however it came, under one id and time."""
    if isinstance(reply, Whole):
        return restamp(reply.body, id="x", created=1)
    folding = Fold()
    folding.add(await chunks_of(reply))
    await reply.aclose()
    folded = folding.finish()
    assert folded is not None
    return restamp(folded, id="x", created=1)


class Oracle(RuleBasedStateMachine):
    asked = hits = 0  # of all runs

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.gateway = Gateway()
        self.model = Model()

    def teardown(self) -> None:
        self.loop.run_until_complete(self.gateway.flights.close())
        self.loop.close()

    @initialize(stream=st.booleans())
    def fill(self, *, stream: bool) -> None:
        """Everything has been asked before, so that what follows is answered from what is kept, or nearly."""
        for variation in VARIATIONS:
            self.ask_all(Request(**(PLAIN.__dict__ | variation)), "stop", [stream])

    @rule(
        crowds=st.lists(
            st.tuples(requests, st.sampled_from(OUTCOMES), st.lists(st.booleans(), min_size=1, max_size=4)), min_size=3, max_size=9
        )
    )
    def ask(self, crowds: list[tuple[Request, str, list[bool]]]) -> None:
        """One crowd after another asks, each the same at once, in any mixture of modes."""
        for request, outcome, modes in crowds:
            self.ask_all(request, outcome, modes)

    def ask_all(self, request: Request, outcome: str, modes: list[bool]) -> None:
        Oracle.asked += len(modes)
        self.loop.run_until_complete(self._ask(request, outcome, modes))

    async def _ask(self, request: Request, outcome: str, modes: list[bool]) -> None:
        cache, now = dict(request.cache), self.gateway.now
        before = len(self.gateway.calls)
        got = await asyncio.gather(*(self._one(request, outcome, stream=stream) for stream in modes))
        made = self.gateway.calls[before:]
        reads = request.is_cacheable and not cache.get("no-cache")
        writes = request.is_cacheable and not cache.get("no-store")
        kept = self.model.find(request, now) if reads else None
        if kept is not None:
            Oracle.hits += len(modes)
            assert made == []
            assert got == [("HIT", kept)] * len(modes)
            return
        shared = reads and writes
        assert len(made) == (1 if shared else len(modes))
        answers = [restamp(body, id="x", created=1) for body in made if body is not None]
        whole = outcome in {"stop", "length"}
        for source, answer in got:
            assert source in ({"MISS", "COALESCED", "failed"} if request.is_cacheable and (reads or writes) else {"BYPASS", "failed"})
            assert answer in answers if whole else answer is None
        if shared and whole:
            assert sorted(source for source, _ in got) == ["COALESCED"] * (len(modes) - 1) + ["MISS"]
        if writes and outcome == "stop":
            # Calls that were not shared were kept one after another; which was last is not the model's to say, only that it is one.
            source, found = await self._one(self._plain(request), "refused", stream=False)
            assert (source, found in answers) == ("HIT", True)
            self.model.keep(request, found or b"", now)

    async def _one(self, request: Request, outcome: str, *, stream: bool) -> tuple[str, bytes | None]:
        try:
            source, reply = await self.gateway.answer(request, outcome, stream=stream)
            return source, await read(reply)
        except EngineError:
            return "failed", None

    @rule(tenant=st.sampled_from(["acme", "other"]), picture=st.sampled_from(sorted(IMAGES)))
    def forget(self, tenant: str, picture: str) -> None:
        self.loop.run_until_complete(self.gateway.cache.forget_image(tenant, IMAGES[picture]))
        self.model.forget(tenant, picture)

    @rule(request=requests, picture=st.sampled_from(sorted(IMAGES)), stream=st.booleans())
    def forget_while_asking(self, request: Request, picture: str, *, stream: bool) -> None:
        """What was asked before a purge of one of its pictures is not found after it."""
        Oracle.asked += 1

        async def both() -> None:
            asking = asyncio.create_task(self._ask_and_note(request, stream=stream))
            for _ in range(3):
                await asyncio.sleep(0)
            await self.gateway.cache.forget_image(request.tenant, IMAGES[picture])
            await asking

        self.loop.run_until_complete(both())
        self.model.forget(request.tenant, picture)

    async def _ask_and_note(self, request: Request, *, stream: bool) -> None:
        before = len(self.gateway.calls)
        source, answer = await self._one(request, "stop", stream=stream)
        assert answer is not None
        if source == "MISS" and not dict(request.cache).get("no-store"):
            assert len(self.gateway.calls) == before + 1
            self.model.keep(request, answer, self.gateway.now)

    @rule(request=requests, stream=st.booleans(), turns=st.integers(0, 12))
    def leave(self, request: Request, *, stream: bool, turns: int) -> None:
        """A client hangs up at any moment. Its answer may be kept or not; if it is, it is this one."""
        Oracle.asked += 1

        async def gone() -> None:
            asking = asyncio.create_task(self._ask_and_note(request, stream=stream))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            with suppress(asyncio.CancelledError):
                await asking
            for _ in range(50):
                await asyncio.sleep(0)

        calls = len(self.gateway.calls)
        self.loop.run_until_complete(gone())
        if len(self.gateway.calls) > calls and not dict(request.cache).get("no-store"):
            self._believe(request, self.gateway.calls[-1])

    def _believe(self, request: Request, answer: bytes | None) -> None:
        """Looks whether the answer was kept, which it may have been or not, and remembers."""
        if not request.is_cacheable or answer is None:
            return
        source, kept = self.loop.run_until_complete(self._one(self._plain(request), "refused", stream=False))
        if source == "HIT" and kept is not None:
            earlier = self.model.find(request, self.gateway.now)
            assert kept in {restamp(answer, id="x", created=1), earlier}
            if kept != earlier:
                self.model.keep(request, kept, self.gateway.now)

    @staticmethod
    def _plain(request: Request) -> Request:
        return Request(**(request.__dict__ | {"cache": tuple(item for item in request.cache if item[0] in {"namespace", "use"})}))

    @rule(seconds=st.sampled_from([1, 4, 1000, 4000]))
    def wait(self, seconds: int) -> None:
        self.gateway.now += seconds

    @invariant()
    def nothing_is_left_flying(self) -> None:
        assert len(self.gateway.flights) == 0


TestOracle = Oracle.TestCase
TestOracle.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much]
)
