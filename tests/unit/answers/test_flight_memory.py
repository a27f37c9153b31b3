"""A flight's log is bounded, whatever the answer's length and however its riders read."""

import asyncio

import pytest
from tests.unit.answers.conftest import Airport
from tests.unit.answers.rig import chunks, settle, text_of

from sightline.errors import EngineError
from sightline.wire.reply import Stream, Whole

LONG = "abcdefgh" * 20  # some 160 chunks, ten times what the log holds


async def stream_of(airport: Airport) -> Stream:
    """A stream of a long answer, boarded at its start."""
    reply = asyncio.create_task(airport.board("stream").reply())
    await settle()
    airport.engine.asked[0].say(chunks(LONG)[0])
    stream = await reply
    assert not isinstance(stream, Whole)
    return stream


def say_the_rest(airport: Airport) -> None:
    for event in chunks(LONG)[1:]:
        airport.engine.asked[0].say(event)
    airport.engine.asked[0].end()


async def test_the_engine_is_read_no_faster_than_its_only_reader_reads(airport: Airport) -> None:
    """A client that stops reading makes the gateway stop reading; when it goes on it misses nothing, and the answer is kept."""
    stream = await stream_of(airport)
    say_the_rest(airport)
    await settle()
    waiting = airport.engine.asked[0].waiting
    assert 100 < waiting < 160
    await settle()
    assert airport.engine.asked[0].waiting == waiting
    assert await text_of(stream) == LONG
    assert len(airport.landing.kept) == 1


async def test_the_fastest_sets_the_pace(airport: Airport) -> None:
    """Who falls behind by more than the log holds fails, with an error and not with a gap; the other gets everything."""
    ride = airport.board("stream")
    slow = await stream_of(airport)
    fast = await ride.reply()
    say_the_rest(airport)
    assert await text_of(fast) == LONG
    with pytest.raises(EngineError):
        await text_of(slow)
    assert len(airport.engine.asked) == 1


async def test_who_wants_the_whole_of_a_stream_keeps_it_going(airport: Airport) -> None:
    """A JSON rider lets a streamed flight go on to its end though its streaming rider stands still."""
    slow = await stream_of(airport)
    whole = asyncio.create_task(airport.board("json").reply())
    say_the_rest(airport)
    assert await text_of(await whole) == LONG
    with pytest.raises(EngineError):
        await text_of(slow)


async def test_nobody_boards_an_answer_whose_start_is_gone(airport: Airport) -> None:
    """Who comes when the log has outgrown its bound gets a call of their own."""
    await stream_of(airport)
    say_the_rest(airport)
    await settle()
    ride = airport.board("stream")
    await settle()
    assert not ride.coalesced
    assert len(airport.engine.asked) == 2


async def test_an_answer_too_long_to_keep_is_given_but_not_kept() -> None:
    """Beyond `keep_bytes` the fold is dropped; the stream is not."""
    airport = Airport(keep_bytes=100)
    stream = await stream_of(airport)
    say_the_rest(airport)
    assert await text_of(stream) == LONG
    assert airport.landing.kept == []
    await airport.flights.close()
