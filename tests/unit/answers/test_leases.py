"""Two gateways and one store: a crowd on both is one engine call, and nobody waits for one that will not answer."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from tests.unit.answers.rig import Asked, Engine, completion, settle, text_of

from sightline.answers.cache import Cache
from sightline.answers.flights import Flights, Ride
from sightline.answers.keys import make_key
from sightline.answers.leases import BARREN_SECONDS, FOLLOW_SECONDS, Leases
from sightline.errors import EngineError
from sightline.settings import Cache as CacheSettings
from sightline.store.base import StoreError
from sightline.store.memory import MemoryStore
from sightline.telemetry.metrics import Metrics
from sightline.wire.reply import Reply

LEASE, PATIENCE = 10.0, 120.0
KEY = make_key(tenant="acme", generation="1", model="plates", images=["ca" * 32], question="q")


class Time:
    """A clock that the test moves, and sleeps that end when it has moved far enough."""

    def __init__(self) -> None:
        self.now = 0.0
        self._sleepers: list[tuple[float, asyncio.Future[None]]] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._sleepers.append((self.now + seconds, waiter))
        await waiter

    async def advance(self, seconds: float) -> None:
        """Lets time pass, ending each sleep in its turn."""
        end = self.now + seconds
        await settle()
        while due := [sleeper for sleeper in self._sleepers if sleeper[0] <= end]:
            first = min(due, key=lambda sleeper: sleeper[0])
            self._sleepers.remove(first)
            self.now = max(self.now, first[0])
            if not first[1].done():
                first[1].set_result(None)
            await settle()
        self.now = end


class Shared(MemoryStore):
    """The store both gateways see; counts what it is asked, and can be taken down."""

    def __init__(self, time: Time) -> None:
        super().__init__(10**6, 10**5, time.clock)
        self.leased: list[str] = []
        self.down = False
        self.meanwhile: Callable[[], Awaitable[object]] | None = None  # what happens just before the next lease is taken

    async def acquire(self, key: str, owner: str, ttl: float) -> bool:
        if self.down:
            raise StoreError("acquire", "down")
        if self.meanwhile is not None:
            happens, self.meanwhile = self.meanwhile, None
            await happens()
        self.leased.append(owner)
        return await super().acquire(key, owner, ttl)


class Gateway:
    def __init__(self, store: Shared, time: Time) -> None:
        self.engine = Engine()
        self.flights = Flights(log_bytes=10_000, keep_bytes=10_000)
        self.cache = Cache(store, CacheSettings(), Metrics())
        self.leases = Leases(store, self.cache, seconds=LEASE, patience=PATIENCE, clock=time.clock, sleep=time.sleep)

    async def ask(self, mode: str) -> tuple[Ride, "asyncio.Task[Reply]"]:
        stream = mode == "stream"
        seen = await self.cache.look_up(KEY)

        def keep(body: bytes) -> bool:
            return self.cache.keep(KEY, body, 60, seen)

        lease = self.leases.lease(KEY, stream=stream)
        ride = self.flights.board(KEY.answer, stream=stream, call=self.engine.call(stream=stream), landed=keep, lease=lease)
        reply = asyncio.create_task(ride.reply())
        await settle()
        return ride, reply

    @property
    def asked(self) -> Asked:
        return self.engine.asked[-1]


class World:
    def __init__(self) -> None:
        self.time = Time()
        self.store = Shared(self.time)
        self.one, self.two, self.three = (Gateway(self.store, self.time) for _ in range(3))


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("first", ["json", "stream"])
@pytest.mark.parametrize("second", ["json", "stream"])
async def test_the_second_gateway_gets_the_first_ones_answer(world: World, first: str, second: str) -> None:
    """One engine call; the other gateway's riders are told that they shared, in the form they asked for."""
    _, leader = await world.one.ask(first)
    ride, follower = await world.two.ask(second)
    assert world.two.engine.asked == []
    world.one.asked.tell()
    assert await text_of(await leader) == "WK1DEG"
    await world.time.advance(0.2)
    assert await text_of(await follower) == "WK1DEG"
    assert world.two.engine.asked == []
    assert ride.coalesced


async def test_a_shared_answer_has_an_id_of_its_own(world: World) -> None:
    _, leader = await world.one.ask("json")
    _, follower = await world.two.ask("json")
    world.one.asked.tell()
    await leader
    await world.time.advance(0.2)
    body = json.loads((await follower).body)  # type: ignore[union-attr]  # who asked for JSON has a Whole
    assert body | {"id": "", "created": 0} == json.loads(completion()) | {"id": "", "created": 0}
    assert body["id"] != "chatcmpl-1"


async def test_who_wants_a_stream_waits_for_a_moment_only(world: World) -> None:
    """After that it asks for itself, rather than show nobody a token."""
    await world.one.ask("json")
    _, follower = await world.two.ask("stream")
    await world.time.advance(FOLLOW_SECONDS - 0.01)
    assert world.two.engine.asked == []
    await world.time.advance(0.02)
    world.two.asked.tell("own")
    assert await text_of(await follower) == "own"


async def test_who_wants_json_waits_as_long_as_for_a_first_token(world: World) -> None:
    await world.one.ask("json")
    _, follower = await world.two.ask("json")
    await world.time.advance(PATIENCE - 0.01)
    assert world.two.engine.asked == []
    await world.time.advance(0.02)
    world.two.asked.tell("own")
    assert await text_of(await follower) == "own"


async def test_a_holder_that_dies_is_followed_by_one(world: World) -> None:
    """Its lease runs out: one of those who wait takes it over, the other waits on for that one's answer."""
    assert await world.store.acquire(KEY.lease, "a gateway that was killed", LEASE)
    _, two = await world.two.ask("json")
    _, three = await world.three.ask("json")
    await world.time.advance(LEASE - 0.1)
    assert world.two.engine.asked + world.three.engine.asked == []
    await world.time.advance(1)
    [asked] = world.two.engine.asked + world.three.engine.asked
    asked.tell()
    await world.time.advance(1)
    assert [await text_of(await two), await text_of(await three)] == ["WK1DEG", "WK1DEG"]
    assert len(world.two.engine.asked + world.three.engine.asked) == 1


async def test_a_holder_that_lives_keeps_its_lease(world: World) -> None:
    """However long the engine takes, nobody else asks it."""
    await world.one.ask("json")
    _, follower = await world.two.ask("json")
    await world.time.advance(5 * LEASE)
    assert world.two.engine.asked == []
    world.one.asked.tell()
    await world.time.advance(1)
    assert await text_of(await follower) == "WK1DEG"


async def test_a_holder_whose_clients_leave_hands_over(world: World) -> None:
    """The lease is given back at once: one of the others asks, and the third waits for it."""
    _, leader = await world.one.ask("json")
    await world.two.ask("json")
    await world.three.ask("json")
    leader.cancel()
    await world.time.advance(0.3)
    assert world.one.asked.closed.is_set()
    assert len(world.two.engine.asked + world.three.engine.asked) == 1


@pytest.mark.parametrize("outcome", ["error", "cut off"])
async def test_nobody_queues_up_for_an_answer_that_is_not_kept(world: World, outcome: str) -> None:
    """All who waited ask at once, each for themselves; a moment later leases work as ever."""
    _, leader = await world.one.ask("json")
    followers = [(await gateway.ask("json"))[1] for gateway in (world.two, world.three)]
    if outcome == "error":
        world.one.asked.fail(EngineError("no"))
    else:
        world.one.asked.answer(completion("cut", finish_reason="length"))
    await asyncio.wait([leader])
    leader.exception()
    await world.time.advance(0.3)
    for gateway in (world.two, world.three):
        gateway.asked.tell()
    assert [await text_of(await follower) for follower in followers] == ["WK1DEG", "WK1DEG"]
    await world.time.advance(BARREN_SECONDS)
    assert await world.store.get([f"{KEY.lease}:barren"]) == [None]


@pytest.mark.parametrize("when", ["before", "while waiting"])
async def test_without_the_store_everybody_asks(world: World, when: str) -> None:
    world.store.down = when == "before"
    _, leader = await world.one.ask("json")
    _, follower = await world.two.ask("json")
    world.store.down = True
    await world.time.advance(0.1)
    for gateway in (world.one, world.two):
        gateway.asked.tell()
    assert [await text_of(await leader), await text_of(await follower)] == ["WK1DEG", "WK1DEG"]


async def test_an_answer_kept_between_two_looks_is_not_missed(world: World) -> None:
    """The holder may keep its answer and give the lease back just after a waiting one has looked, and before it takes the lease."""
    _, leader = await world.one.ask("json")
    _, follower = await world.two.ask("json")

    async def finish() -> None:
        world.one.asked.tell()
        await settle()

    world.store.meanwhile = finish
    await world.time.advance(1)
    assert world.two.engine.asked == []
    assert await text_of(await leader) == await text_of(await follower) == "WK1DEG"
    assert await world.store.acquire(KEY.lease, "the next", LEASE)


async def test_a_miss_takes_the_lease_once(world: World) -> None:
    """One round trip more than without leases, and one for giving it back, when the riders have their answer."""
    _, leader = await world.one.ask("json")
    world.one.asked.tell()
    await leader
    await settle()
    assert len(world.store.leased) == 1
    assert await world.store.acquire(KEY.lease, "the next", LEASE)


async def test_a_client_that_leaves_while_waiting_leaves_nothing(world: World) -> None:
    """Its gateway neither asks nor holds anything."""
    _, leader = await world.one.ask("json")
    _, follower = await world.two.ask("json")
    follower.cancel()
    await world.time.advance(1)
    world.one.asked.tell()
    await leader
    await settle()
    assert world.two.engine.asked == []
    assert await world.store.acquire(KEY.lease, "the next", LEASE)
