"""A picture host that is slow, endless, lying or odd costs its caller a 400 within the fetch limit, and the gateway nothing."""

import asyncio
import contextlib
import gzip
import ssl

import pytest
import trustme
from tests.fakes.island import PICTURE, PUBLIC, Island, Page, redirect, reply

from sightline.settings import Fetch

LIMIT = 1.0
FETCH = Fetch(timeout=LIMIT)
ENOUGH = 100_000  # bytes a picture may have here
URL = f"http://{PUBLIC}/page"


async def silent(writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(10)


async def silent_after_head(writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"", length=1000))
    await asyncio.sleep(10)


async def dripping(writer: asyncio.StreamWriter) -> None:
    writer.write(reply(b"", length=1000))
    while True:
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def dripping_head(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(10_000):
        writer.write(b"X-%d: y\r\n" % number)
        await writer.drain()
        await asyncio.sleep(0.05)


async def endless_continue(writer: asyncio.StreamWriter) -> None:
    while True:
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        await writer.drain()
        await asyncio.sleep(0.01)


async def endless(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(b"10000\r\n" + bytes(0x10000) + b"\r\n")
            await writer.drain()


async def endless_without_length(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
    with contextlib.suppress(ConnectionError):
        while True:
            writer.write(bytes(0x10000))
            await writer.drain()


@pytest.mark.parametrize(
    "page",
    [
        silent,
        silent_after_head,
        dripping,
        dripping_head,
        endless_continue,
        redirect("/page"),
        reply(length=1000),
        reply(status="206 Partial Content"),
        reply(status="204 No Content"),
        reply(status="404 Not Found"),
        reply(status="999 What"),
        reply(gzip.compress(PICTURE), "Content-Encoding: gzip"),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n5\r\nabcde\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nnonsense\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nabcde",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: y\r\n" % number for number in range(10_000)) + b"\r\n",
        b"\x16\x03\x01 this is not HTTP",
        b"",
    ],
    ids=[
        "silent",
        "silent after the head",
        "a byte now and then",
        "a header now and then",
        "endless 100 Continue",
        "redirects to itself",
        "promises more than it sends",
        "206",
        "204",
        "404",
        "999",
        "gzip",
        "gzip in transfer",
        "bad chunk",
        "two lengths",
        "negative length",
        "huge header",
        "many headers",
        "not HTTP",
        "closes at once",
    ],
)
def test_is_a_failed_download_within_the_limit(island: Island, page: Page) -> None:
    island.pages["/page"] = page
    outcome = island.fetch(URL, FETCH, max_bytes=ENOUGH)
    assert outcome.code == "failed_to_download_image"
    assert outcome.seconds < LIMIT * 1.1 + 0.3  # the fetch limit +10 %, and what a busy machine takes to notice


@pytest.mark.parametrize(
    "page",
    [reply(bytes(ENOUGH + 1)), reply(b"", length=10**12), endless, endless_without_length],
    ids=["one byte too many", "says so itself", "endless chunks", "endless without a length"],
)
def test_is_too_large_as_soon_as_that_is_known(island: Island, page: Page) -> None:
    island.pages["/page"] = page
    outcome = island.fetch(URL, FETCH, max_bytes=ENOUGH)
    assert outcome.code == "image_file_too_large"
    assert outcome.seconds < LIMIT


@pytest.mark.parametrize(
    "page",
    [
        reply(bytes(ENOUGH)),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(ENOUGH),
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n" + bytes(ENOUGH) + b"\r\n0\r\n\r\n",
        reply(bytes(ENOUGH), "Content-Encoding: identity"),
    ],
    ids=["with its length", "until it closes", "in chunks", "identity"],
)
def test_a_picture_as_large_as_allowed_comes_whole(island: Island, page: Page) -> None:
    island.pages["/page"] = page
    assert island.fetch(URL, FETCH, max_bytes=ENOUGH).data == bytes(ENOUGH)


def server_tls(authority: trustme.CA, name: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)
    return context


def test_a_certificate_for_the_name_is_believed(island: Island) -> None:
    authority = trustme.CA()
    authority.configure_trust(island.tls)
    island.server_tls = server_tls(authority, "pics.example.org")
    island.names["pics.example.org"] = [[PUBLIC]]
    assert island.fetch("https://pics.example.org/a.png", FETCH).data == PICTURE
    assert b"\r\nHost: pics.example.org\r\n" in island.heads[0]


@pytest.mark.parametrize(("trusted", "name"), [(False, "pics.example.org"), (True, "other.example.org")], ids=["self-signed", "wrong name"])
def test_another_certificate_is_not(island: Island, trusted: bool, name: str) -> None:
    authority = trustme.CA()
    if trusted:
        authority.configure_trust(island.tls)
    island.server_tls = server_tls(authority, name)
    island.names["pics.example.org"] = [[PUBLIC]]
    assert island.fetch("https://pics.example.org/a.png", FETCH).code == "failed_to_download_image"
    assert island.heads == []


def test_a_redirect_from_https_to_http_is_not_followed(island: Island) -> None:
    authority = trustme.CA()
    authority.configure_trust(island.tls)
    island.server_tls = server_tls(authority, "pics.example.org")
    island.names["pics.example.org"] = [[PUBLIC]]
    island.pages["/page"] = redirect("http://pics.example.org/a.png")
    assert island.fetch("https://pics.example.org/page", FETCH).code == "failed_to_download_image"
    assert island.dialled == [(PUBLIC, 443)]


def test_a_name_server_that_never_answers_costs_no_more_than_the_limit(island: Island) -> None:
    island.names["slow.example.org"] = []
    outcome = island.fetch("http://slow.example.org/a.png", FETCH)
    assert outcome.code == "failed_to_download_image"
    assert outcome.seconds < LIMIT * 1.1 + 0.3
