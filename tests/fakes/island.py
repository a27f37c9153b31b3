"""A network namespace in which every address on earth is this machine: whatever is dialled arrives, and is written down.

So "no packet reaches it" can be shown for 169.254.169.254 and for 2002:7f00:1:: alike, and a fetch that should work does. In it, on the
machine's own name server's address, stands a scripted name server; the resolver under test is the real one. Needs root and `ip` (iproute2).
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import ssl
import struct
import subprocess
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

from tests.fakes.loop import LoopThread

from sightline.errors import PictureRefused
from sightline.pictures.intake import Intake
from sightline.settings import Fetch, Images
from sightline.telemetry.metrics import Metrics
from sightline.wire.protocol import PictureSource

T = TypeVar("T")
Page = bytes | Callable[[asyncio.StreamWriter], Awaitable[None]]
CLONE_NEWNET = 0x4000_0000
PICTURE = b"\x89PNG any bytes will do here"
PUBLIC = "93.184.215.14"  # belongs to somebody else, outside of here
OTHER_PORTS = (8080, 6379)
KEEP_ALIVE = b"Connection: keep-alive"  # in a page: the connection stays open after it


def reply(body: bytes = PICTURE, *headers: str, status: str = "200 OK", length: int | None = None) -> bytes:
    lines = (f"HTTP/1.1 {status}", f"Content-Length: {len(body) if length is None else length}", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def redirect(location: str, status: str = "302 Found") -> bytes:
    return reply(b"", f"Location: {location}", status=status)


def source(url: str) -> PictureSource:
    return PictureSource(0, "messages[0]", None, None, url)


@dataclass(frozen=True)
class Outcome:
    data: bytes | None
    code: str | None
    message: str | None
    seconds: float


class Island:
    """`names`: host → its addresses, one list for each time it is asked (the last stays). `pages`: path → what is written, then closed.

    `dialled` and `heads` say which addresses were connected to and what they were asked.
    """

    def __init__(self) -> None:
        self.names: dict[str, list[Sequence[str]]] = {}
        self.pages: dict[str, Page] = {}
        self.dialled: list[tuple[str, int]] = []
        self.heads: list[bytes] = []
        self.left = asyncio.Event()  # a client went away while a page was being written
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # trusts nobody
        self.server_tls: ssl.SSLContext | None = None
        self._loop = LoopThread("island")
        self._services: list[asyncio.AbstractServer | asyncio.BaseTransport] = []
        self.run(self._settle())

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work, 30)

    def reset(self) -> None:
        self.names.clear()
        self.pages.clear()
        self.pages["/a.png"] = reply()
        self.dialled.clear()
        self.heads.clear()
        self.left.clear()
        self.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        self.server_tls = None

    def stop(self) -> None:
        self.run(self._leave())
        self._loop.stop()

    def fetch(self, url: str, fetch: Fetch | None = None, **images: Any) -> Outcome:
        """What the real intake makes of `url`."""
        return self.run(self._fetch(url, Images(fetch=fetch or Fetch(timeout=5), **images)))

    def intake(self, images: Images) -> Intake:
        return Intake(images, Metrics(), tls=self.tls)

    async def _fetch(self, url: str, images: Images) -> Outcome:
        intake, began = self.intake(images), time.monotonic()
        data, code, message = None, None, None
        try:
            data = await intake(source(url))
        except PictureRefused as refused:
            code, message = refused.code, refused.message
        finally:
            seconds = time.monotonic() - began
            await intake.close()
        return Outcome(data, code, message, seconds)

    async def _settle(self) -> None:
        # A namespace belongs to a thread: this one, and what it starts. It ends with it.
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.unshare(CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"a network namespace wants root: {os.strerror(ctypes.get_errno())}")
        for command in ("link set lo up", "route add local 0.0.0.0/0 dev lo", "-6 route add local ::/0 dev lo"):
            subprocess.run(["ip", *command.split()], check=True)  # noqa: ASYNC221  nothing else runs here yet
        for port in (80, 443, *OTHER_PORTS):
            for family, host in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                self._services.append(await asyncio.start_server(self._serve, host, port, family=family))
        loop = asyncio.get_running_loop()
        for server in _name_servers():
            transport, _ = await loop.create_datagram_endpoint(lambda: _NameServer(self.names), local_addr=(server, 53))
            self._services.append(transport)

    async def _leave(self) -> None:
        for service in self._services:
            service.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        address, port, *_ = writer.get_extra_info("sockname")
        self.dialled.append((address, port))
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            if port == 443 and self.server_tls is not None:
                await writer.start_tls(self.server_tls)
            page: Page = KEEP_ALIVE
            while isinstance(page, bytes) and KEEP_ALIVE in page:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                page = self.pages.get(head.split()[1].decode().partition("?")[0], reply(b"", status="404 Not Found"))
                if isinstance(page, bytes):
                    writer.write(page)
                    await writer.drain()
                else:
                    await self._until_left(page(writer), reader)
        writer.close()

    async def _until_left(self, page: Awaitable[None], reader: asyncio.StreamReader) -> None:
        writing, leaving = asyncio.ensure_future(page), asyncio.ensure_future(reader.read(1))
        done, rest = await asyncio.wait({writing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if leaving in done:
            self.left.set()
        for task in rest:
            task.cancel()
        await asyncio.gather(writing, leaving, return_exceptions=True)


class _NameServer(asyncio.DatagramProtocol):
    """Answers A and AAAA (RFC 1035, 3596) as `names` says; a name that is not in it does not exist, one without a list is silence."""

    def __init__(self, names: dict[str, list[Sequence[str]]]) -> None:
        self._names = names

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        labels, at = [], 12
        while data[at]:
            labels.append(data[at + 1 : at + 1 + data[at]].decode())
            at += 1 + data[at]
        question, (kind,) = data[12 : at + 5], struct.unpack_from("!H", data, at + 1)
        if self._names.get(".".join(labels).lower()) == []:
            return
        answers = self._answer(".".join(labels).lower(), kind)
        records = b"".join(b"\xc0\x0c" + struct.pack("!HHIH", kind, 1, 0, len(address)) + address for address in answers or ())
        code = 0 if answers is not None else 3
        head = data[:2] + struct.pack("!HHHHH", 0x8580 | code, 1, len(answers or ()), 0, 0)
        self._transport.sendto(head + question + records, addr)

    def _answer(self, name: str, kind: int) -> list[bytes] | None:
        script = self._names.get(name)
        if script is None:
            return None
        now = script[0]
        if kind == 1:  # one look-up asks for A and AAAA: the A ends it
            family, script[:] = socket.AF_INET, script[1:] or script
        else:
            family = socket.AF_INET6
        return [socket.inet_pton(family, address) for address in now if (":" in address) == (kind == 28)]


def _name_servers() -> list[str]:
    lines = [line.split() for line in Path("/etc/resolv.conf").read_text().splitlines()] if Path("/etc/resolv.conf").exists() else []
    return [words[1] for words in lines if words[:1] == ["nameserver"]] or ["127.0.0.1"]
