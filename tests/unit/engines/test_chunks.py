"""An engine's body is the same to who listens, however its chunks are written and its reads are cut: known ones pass the parser by."""

import asyncio
import random
from typing import Any, cast

import pytest

from sightline.engines.connection import BrokenAnswer, Connection, Connector, Response

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


class Wire:
    """A transport that notes whether it has been cut off."""

    def __init__(self) -> None:
        self.aborted = False
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)

    def writelines(self, pieces: tuple[bytes, ...]) -> None:
        self.sent += pieces

    def is_closing(self) -> bool:
        return self.aborted

    def abort(self) -> None:
        self.aborted = True

    def close(self) -> None:
        self.aborted = True

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Heard:
    """One answer on a connection of its own or on `connection`, listened to from its head on."""

    def __init__(self, connection: Connection | None = None) -> None:
        self.wire = Wire()
        if connection is None:
            connection = Connection(Connector("http://engine", 1))
            connection.connection_made(cast("Any", self.wire))
        self.connection = connection
        self.pieces: list[bytes] = []
        self.response: Response = connection.ask(b"GET / HTTP/1.1\r\n\r\n", b"")
        self.response.listen(self.pieces.append)

    def feed(self, *reads: bytes) -> "Heard":
        for data in reads:
            self.connection.data_received(data)
        return self

    @property
    def body(self) -> bytes:
        return b"".join(self.pieces)


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@pytest.mark.parametrize("seed", range(40))
async def test_cuts_do_not_matter(seed: int) -> None:
    """Bodies of bytes that look like chunks themselves, in chunks of all ways of writing, several of them or half a one in a read."""
    chance = random.Random(seed)
    ways = (chunk, lambda data: b"00%X;a=b\r\n%b\r\n" % (len(data), data))
    sayings = [b"data: x\n\n", b"\r\n", b"5\r\nhello\r\n", b"0\r\n\r\n", b"a", b"f" * 300, END]
    said = [chance.choice(sayings) for _ in range(chance.randrange(1, 30))]
    heard = Heard().feed(HEAD)
    reads = [chance.choice(ways)(data) for data in said] + [END]
    while len(reads) > 1 and chance.random() < 0.7:  # join two neighbours, or cut one
        at = chance.randrange(len(reads) - 1)
        reads[at : at + 2] = [reads[at] + reads[at + 1]]
        cut = chance.randrange(len(reads[at]) + 1)
        if chance.random() < 0.5 and 0 < cut < len(reads[at]):
            reads[at : at + 1] = [reads[at][:cut], reads[at][cut:]]
    heard.feed(*reads)
    assert heard.body == b"".join(said)
    assert heard.response.complete
    again = Heard(heard.connection).feed(HEAD, chunk(b"next"), END)
    assert again.body == b"next"


async def test_each_chunk_is_heard_as_it_comes() -> None:
    heard = Heard().feed(HEAD)
    for number in range(1, 5):
        heard.feed(chunk(b"event"))
        assert heard.pieces == [b"event"] * number


@pytest.mark.parametrize(
    "wrong", [b"6\r\nevent\r\n", b"4\r\nevent\r\n", b"-5\r\nevent\r\n", b"5\r\nevent\n\n", b"\r\nevent\r\n", b"5 5\r\nevent\r\n", b"event"]
)
async def test_what_is_no_chunk_is_the_parsers_to_judge(wrong: bytes) -> None:
    """It waits for the rest, or finds the answer broken; in no case is it taken for a chunk."""
    parsed, known = Heard(), Heard()
    parsed.feed(HEAD + chunk(b"first") + wrong)
    known.feed(HEAD, chunk(b"first"), chunk(b"first"), wrong)
    assert known.body == b"first" + parsed.body
    assert known.wire.aborted == parsed.wire.aborted


async def test_after_the_last_chunk_none_is_known() -> None:
    heard = Heard().feed(HEAD, chunk(b"first"), END)
    again = Heard(heard.connection).feed(chunk(b"of nobody"))
    assert heard.body == b"first"
    assert again.body == b""
    assert heard.wire.aborted


async def test_who_stops_listening_reads_what_comes_then() -> None:
    heard = Heard().feed(HEAD, chunk(b"first"))
    heard.response.listen(None)
    heard.feed(chunk(b"second"), chunk(b"third"))
    assert heard.pieces == [b"first"]
    assert await heard.response.some() == b"secondthird"


async def test_a_chunk_that_was_begun_before_is_not_mistaken() -> None:
    """Within a chunk, bytes that read like a whole one are its own."""
    inner = chunk(b"inner")
    heard = Heard().feed(HEAD, chunk(b"first"), b"%x\r\n" % len(inner), inner, b"\r\n", END)
    assert heard.body == b"first" + inner
    assert heard.response.complete


async def test_a_size_that_was_begun_before_is_not_mistaken() -> None:
    """`1` at the end of a read and `5` at the start of the next are the size of 21 bytes, not of five."""
    heard = Heard().feed(HEAD, chunk(b"first") + b"1", b"5\r\nhello\r\n", b"here and there\r\n", END)
    assert heard.body == b"firsthello\r\nhere and there"
    assert heard.response.complete


async def test_an_answer_that_is_cut_off_says_so() -> None:
    heard = Heard().feed(HEAD, chunk(b"first"), chunk(b"second"))
    heard.connection.connection_lost(None)
    assert heard.pieces == [b"first", b"second", b""]
    with pytest.raises(BrokenAnswer):
        await asyncio.wait_for(heard.response.some(), 1)
