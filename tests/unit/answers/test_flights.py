"""The situations that a shared engine call can get into, each with JSON and streaming riders in every mix."""

import asyncio
import json

import pytest
from tests.fakes.pouring import Reader
from tests.unit.answers.conftest import Airport
from tests.unit.answers.rig import chunk, chunks, completion, settle, text_in, text_of

from sightline.answers.flights import LIGHT
from sightline.errors import EngineError, Unavailable
from sightline.wire.reply import Reply, Whole

MODES = ["json", "stream"]
mixed = pytest.mark.parametrize(("first", "second"), [(a, b) for a in MODES for b in MODES])


@mixed
async def test_two_share_one_call(airport: Airport, first: str, second: str) -> None:
    """Both get the answer in their own form, the engine is asked once in the first one's, the answer is kept once."""
    rides = [airport.board(first), airport.board(second)]
    replies = [asyncio.create_task(ride.reply()) for ride in rides]
    await settle()
    [asked] = airport.engine.asked
    assert asked.stream == (first == "stream")
    asked.tell()
    got = [await reply for reply in replies]
    assert [isinstance(reply, Whole) for reply in got] == [first == "json", second == "json"]
    assert [await text_of(reply) for reply in got] == ["WK1DEG", "WK1DEG"]
    assert [ride.coalesced for ride in rides] == [False, True]
    assert [json.loads(kept) for kept in airport.landing.kept] == [json.loads(completion())]
    await settle()
    assert len(airport.flights) == 0
    assert asked.closed.is_set() == asked.stream


async def landed(airport: Airport, mode: str) -> None:
    """A flight that has been and gone."""
    reply = await_reply(airport, mode)
    await settle()
    airport.engine.asked[-1].tell()
    await text_of(await reply)
    await settle()


@mixed
async def test_who_looked_before_it_landed_boards_what_has_landed(airport: Airport, first: str, second: str) -> None:
    """The store told him of no answer, since none was kept yet when it was asked; by now there is one, and no flight."""
    airport.now = 5.0
    await landed(airport, first)
    ride = airport.board(second, looked=4.9)
    reply = await ride.reply()
    assert isinstance(reply, Whole) == (second == "json")
    assert await text_of(reply) == "WK1DEG"
    assert ride.coalesced
    assert len(airport.engine.asked) == 1


@mixed
async def test_who_looked_after_it_landed_asks(airport: Airport, first: str, second: str) -> None:
    """The answer was not kept, or has been forgotten since: nobody gets it for having been asked for a moment ago."""
    airport.now = 5.0
    await landed(airport, first)
    ride = airport.board(second, looked=5.0)
    reply = asyncio.create_task(ride.reply())
    await settle()
    assert len(airport.engine.asked) == 2
    airport.engine.asked[-1].tell()
    assert await text_of(await reply) == "WK1DEG"
    assert not ride.coalesced


async def test_what_failed_is_boarded_by_nobody_later(airport: Airport) -> None:
    airport.now = 5.0
    reply = await_reply(airport, "json")
    await settle()
    airport.engine.asked[-1].fail(EngineError("no"))
    with pytest.raises(EngineError):
        await reply
    again = asyncio.create_task(airport.board("json", looked=4.9).reply())
    await settle()
    airport.engine.asked[-1].tell()
    assert await text_of(await again) == "WK1DEG"
    assert len(airport.engine.asked) == 2


async def test_a_large_answer_is_let_go_at_once(airport: Airport) -> None:
    airport.now = 5.0
    reply = await_reply(airport, "json")
    await settle()
    airport.engine.asked[-1].answer(completion("x" * LIGHT))
    await reply
    assert not airport.board("json", looked=4.9).coalesced


async def test_what_landed_long_ago_is_let_go(airport: Airport) -> None:
    """No look-up takes so long; the next landing takes it away."""
    await landed(airport, "json")
    airport.now = 2.0
    reply = asyncio.create_task(airport.board("json", "another").reply())
    await settle()
    airport.engine.asked[-1].tell()
    await reply
    assert not airport.board("json", looked=-1.0).coalesced


async def test_a_hundred_share_one_call(airport: Airport) -> None:
    """A stampede of 100, half of them streaming, is one engine call and a hundred answers."""
    replies = [asyncio.create_task(airport.board(MODES[n % 2]).reply()) for n in range(100)]
    await settle()
    [asked] = airport.engine.asked
    asked.tell()
    assert {await text_of(await reply) for reply in replies} == {"WK1DEG"}
    assert len(airport.engine.asked) == 1


@pytest.mark.parametrize("late", MODES)
async def test_who_comes_late_hears_it_from_the_start(airport: Airport, late: str) -> None:
    """A rider who boards when half has been said gets all of it, and may be ahead of nobody."""
    early = await_reply(airport, "stream")
    await settle()
    [asked] = airport.engine.asked
    said = chunks()
    asked.say(*said[:3])
    stream = await early
    assert not isinstance(stream, Whole)
    reader = Reader(stream)
    assert await reader.read() == said[:3]
    ride = airport.board(late)
    reply = asyncio.create_task(ride.reply())
    await settle()
    assert reply.done() == (late == "stream")
    for event in said[3:]:
        asked.say(event)
    asked.end()
    assert await text_of(await reply) == "WK1DEG"
    assert ride.coalesced
    assert text_in(await reader.rest()) == "1DEG"
    assert len(airport.engine.asked) == 1


@mixed
async def test_the_first_leaves(airport: Airport, first: str, second: str) -> None:
    """The one who started it goes, cancelled, and the other gets the whole answer of the same call."""
    leader, follower = await_reply(airport, first), await_reply(airport, second)
    await settle()
    leader.cancel()
    await settle()
    [asked] = airport.engine.asked
    assert not asked.closing.is_set()
    asked.tell()
    assert await text_of(await follower) == "WK1DEG"
    assert len(airport.landing.kept) == 1


@mixed
async def test_the_last_leaves(airport: Airport, first: str, second: str) -> None:
    """When all have gone, the engine's call is closed and nothing is kept."""
    riders = [await_reply(airport, first), await_reply(airport, second)]
    await settle()
    [asked] = airport.engine.asked
    for rider in riders:
        rider.cancel()
    await settle()
    assert asked.closed.is_set()
    assert len(airport.flights) == 0
    assert airport.landing.kept == []


async def test_the_last_leaves_midstream(airport: Airport) -> None:
    """A streaming client that closes its stream after the first words ends the engine's work."""
    rider = await_reply(airport, "stream")
    await settle()
    [asked] = airport.engine.asked
    asked.say(*chunks()[:2])
    stream = await rider
    assert not isinstance(stream, Whole)
    reader = Reader(stream)
    await reader.read()
    await reader.leave()
    await settle()
    assert asked.closed.is_set()
    assert airport.landing.kept == []


@mixed
async def test_a_newcomer_during_a_slow_close(airport: Airport, first: str, second: str) -> None:
    """Who comes while a forsaken call is still being closed gets a call of their own, which the old one's end does not touch."""
    old = await_reply(airport, first)
    await settle()
    [forsaken] = airport.engine.asked
    forsaken.may_close.clear()
    old.cancel()
    await settle()
    assert forsaken.closing.is_set()
    assert not forsaken.closed.is_set()
    ride = airport.board(second)
    new = asyncio.create_task(ride.reply())
    await settle()
    forsaken.may_close.set()
    await settle()
    assert forsaken.closed.is_set()
    assert len(airport.flights) == 1
    _, asked = airport.engine.asked
    asked.tell()
    assert await text_of(await new) == "WK1DEG"
    assert not ride.coalesced


@mixed
async def test_failure_before_the_first_word(airport: Airport, first: str, second: str) -> None:
    """The engine's failure reaches everybody as the same exception, with one call; who comes next asks anew."""
    riders = [await_reply(airport, first), await_reply(airport, second)]
    await settle()
    [asked] = airport.engine.asked
    error = EngineError("The engine gave up.")
    asked.fail(error)
    outcomes = await asyncio.gather(*riders, return_exceptions=True)
    assert outcomes == [error, error]
    assert airport.landing.kept == []
    again = await_reply(airport, second)
    await settle()
    assert len(airport.engine.asked) == 2
    airport.engine.asked[1].tell()
    assert await text_of(await again) == "WK1DEG"


async def test_failure_midstream(airport: Airport) -> None:
    """Streaming riders get what there was and then the failure, JSON riders the failure; nothing is kept and nobody asks again."""
    streaming, whole = await_reply(airport, "stream"), await_reply(airport, "json")
    await settle()
    [asked] = airport.engine.asked
    said = chunks()
    asked.say(*said[:4])
    error = EngineError("The engine broke off.", should_retry=False)
    asked.fail(error)
    await settle()
    stream = await streaming
    assert not isinstance(stream, Whole)
    reader = Reader(stream)
    assert await reader.read() == said[:4]
    with pytest.raises(EngineError) as raised:
        await reader.read()
    assert raised.value is error
    with pytest.raises(EngineError) as raised:
        await whole
    assert raised.value is error
    assert airport.landing.kept == []
    assert asked.closed.is_set()
    assert len(airport.engine.asked) == 1
    assert len(airport.flights) == 0


@mixed
async def test_cancelled_before_the_task_runs(airport: Airport, first: str, second: str) -> None:
    """A request that goes before its flight's task has taken a step leaves nothing behind, and hides nothing from the next."""
    airport.board(first).leave()
    newcomer = await_reply(airport, second)
    await settle()
    [asked] = airport.engine.asked
    assert asked.stream == (second == "stream")
    asked.tell()
    assert await text_of(await newcomer) == "WK1DEG"


@pytest.mark.parametrize("mode", MODES)
async def test_closed_before_the_task_runs(airport: Airport, mode: str) -> None:
    """Closing everything at that moment tells the riders, and takes nobody aboard any more."""
    ride = airport.board(mode)
    await airport.flights.close()
    with pytest.raises(Unavailable):
        await ride.reply()
    with pytest.raises(Unavailable):
        airport.board(mode)
    assert airport.engine.asked == []


@pytest.mark.parametrize("mode", MODES)
async def test_closed_under_way(airport: Airport, mode: str) -> None:
    """Closing ends the engine's call and waits for that, and riders hear of it."""
    rider = await_reply(airport, mode)
    await settle()
    await airport.flights.close()
    assert airport.engine.asked[0].closed.is_set()
    with pytest.raises(Unavailable):
        await rider


@mixed
async def test_the_answer_is_kept_before_anybody_hears_of_its_end(airport: Airport, first: str, second: str) -> None:
    """So who asks again after hearing it finds it kept."""
    kept_by_then = []

    async def hear(mode: str) -> str:
        text = await read(airport, mode)
        kept_by_then.append(len(airport.landing.kept))
        return text

    readers = [asyncio.create_task(hear(first)), asyncio.create_task(hear(second))]
    await settle()
    airport.engine.asked[0].tell()
    assert [await reader for reader in readers] == ["WK1DEG", "WK1DEG"]
    assert kept_by_then == [1, 1]


async def test_one_who_reads_slowly_holds_up_nobody(airport: Airport) -> None:
    """A rider who has read nothing yet gets everything later; the other was done long before."""
    slow, fast = await_reply(airport, "stream"), asyncio.create_task(read(airport, "stream"))
    await settle()
    airport.engine.asked[0].tell()
    assert await fast == "WK1DEG"
    assert await text_of(await slow) == "WK1DEG"


@pytest.mark.parametrize(("first", "second"), [("stream", "json"), ("json", "stream")])
async def test_what_cannot_be_told_in_the_other_mode(airport: Airport, first: str, second: str) -> None:
    """Two riders of the other mode share one second call in theirs, and the first one's answer is as the engine sent it."""
    one = await_reply(airport, first)
    others = [await_reply(airport, second), await_reply(airport, second)]
    await settle()
    if first == "stream":
        events = [*chunks()[:-2], chunk({"novelty": 1}, finish_reason="stop")]
        airport.engine.asked[0].say(*events)
        airport.engine.asked[0].end()
    else:
        airport.engine.asked[0].answer(completion(novelty=1))
    assert await text_of(await one) == "WK1DEG"
    await settle()
    assert [asked.stream for asked in airport.engine.asked] == [first == "stream", second == "stream"]
    airport.engine.asked[1].tell("other")
    assert [await text_of(await other) for other in others] == ["other", "other"]


async def test_alone_by_wish(airport: Airport) -> None:
    """Without a key nobody shares, and the answer is kept all the same."""
    readers = [asyncio.create_task(read(airport, "stream", None)) for _ in range(2)]
    await settle()
    for asked in airport.engine.asked:
        asked.tell()
    assert [await reader for reader in readers] == ["WK1DEG", "WK1DEG"]
    assert len(airport.landing.kept) == 2


async def test_an_answer_that_cannot_be_kept_is_given_all_the_same(airport: Airport, caplog: pytest.LogCaptureFixture) -> None:
    """What goes wrong in keeping is not the riders' affair."""

    def broken(body: bytes) -> bool:
        raise RuntimeError("no")

    ride = airport.flights.board("question", stream=False, call=airport.engine.call(stream=False), landed=broken)
    reply = asyncio.create_task(ride.reply())
    await settle()
    airport.engine.asked[0].tell()
    assert await text_of(await reply) == "WK1DEG"


def await_reply(airport: Airport, mode: str) -> "asyncio.Task[Reply]":
    return asyncio.create_task(airport.board(mode).reply())


async def read(airport: Airport, mode: str, key: str | None = "question") -> str:
    return await text_of(await airport.board(mode, key).reply())
