"""A head is known again when it is the same but for the body's length, and never otherwise."""

import httptools
import pytest

from sightline.http.heads import Head, Known

START = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\nAuthorization: Bearer sk-1\r\n\r\n"


def known(data: bytes, length: bytes = b"7") -> Known | None:
    return Known.of(data, Head.of([(b"content-length", length), (b"authorization", b"Bearer sk-1")]), keep_alive=True)


@pytest.mark.parametrize("length", [b"7", b"0", b"123456789012345"])
@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
def test_the_same_but_for_the_length(name: bytes, length: bytes) -> None:
    first = START.replace(b"Content-Length", name)
    again = first.replace(b": 7", b": " + length)
    head = known(first + b"1234567")
    assert head is not None
    found = head.again(again + b"the body")

    assert found is not None
    assert found[0].content_length == length
    assert found[0].authorization == [b"Bearer sk-1"]
    assert found[1] == len(again)
    assert head.head.content_length == b"7"


@pytest.mark.parametrize("wrong", [b"", b"+7", b"-7", b" 7", b"7 ", b"0x7", b"7,7", b"7\r", b"\xb2", b"1234567890123456", b"7\r\nX: 1"])
def test_what_is_not_a_plain_number_is_the_parsers_affair(wrong: bytes) -> None:
    head = known(START)
    assert head is not None
    assert head.again(START.replace(b": 7", b": " + wrong)) is None


@pytest.mark.parametrize(
    "other",
    [
        START.replace(b"sk-1", b"sk-2"),
        START.replace(b"Host: x", b"Host: y"),
        START.replace(b"\r\n\r\n", b"\r\nContent-Length: 9\r\n\r\n"),
        START.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n"),
        START.replace(b"HTTP/1.1", b"HTTP/1.0"),
        START[:-1],
        START[: START.index(b": 7") + 3],
    ],
)
def test_any_other_is_another(other: bytes) -> None:
    head = known(START)
    assert head is not None
    assert head.again(other) is None


@pytest.mark.parametrize(
    ("data", "length"),
    [
        (START.replace(b"Content-Length: 7\r\n", b"X-Content-Length: 7\r\nContent-Length:7\r\n"), b"7"),
        (START.replace(b"Content-Length: 7\r\n", b"X: Content-Length: 7\r\nCONTENT-LENGTH: 7\r\n"), b"7"),
        (START.replace(b": 7", b":  7"), b"7"),
        (START.replace(b"Content-Length: 7\r\n", b"") + b"\r\nContent-Length: 7\r\n\r\n", b""),
        (b"\r\n\r\n" + START, b"7"),
    ],
)
def test_a_length_that_stands_elsewhere_is_not_taken(data: bytes, length: bytes) -> None:
    assert known(data, length) is None


@pytest.mark.parametrize("data", [START.replace(b"\r\n", b"\n"), START[:-2] + b"\n", START.replace(b"Host: x", b"Host: x\r\n y")])
def test_the_parser_takes_no_other_line_ends(data: bytes) -> None:
    """Which `Known.of` relies on."""

    class Nobody:
        pass

    with pytest.raises(httptools.HttpParserError):
        httptools.HttpRequestParser(Nobody()).feed_data(data)
