"""One client's connection to the fake engine: reads requests, writes bytes, and notices when the client leaves."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tests.fakes.script import Script


@dataclass
class Call:
    """One request as it came, and what became of it. Times are of `time.monotonic`."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    connection: int
    at: float
    script: Script = field(default_factory=Script)
    tokens_sent: int = 0
    answered_at: float | None = None  # when the last byte of the answer was written
    left_at: float | None = None  # when the client closed the connection before that

    @property
    def json(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def ended(self) -> bool:
        return self.answered_at is not None or self.left_at is not None


class Connection(asyncio.Protocol):
    """Subclasses say in `answer` what becomes of each call; it is cancelled when the client leaves."""

    def __init__(self, number: int, notify: Callable[[], None]) -> None:
        self.number = number
        self.notify = notify
        self.buffer = bytearray()
        self.more = asyncio.Event()
        self.writable = asyncio.Event()
        self.writable.set()
        self.call: Call | None = None

    async def answer(self, call: Call) -> None:
        raise NotImplementedError

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.task = asyncio.get_running_loop().create_task(self._converse())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        self.more.set()

    def pause_writing(self) -> None:
        self.writable.clear()

    def resume_writing(self) -> None:
        self.writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.call and not self.call.ended:
            self.call.left_at = time.monotonic()
        self.task.cancel()
        self.notify()

    def reset(self) -> None:
        """Closes with RST instead of FIN."""
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()

    async def write(self, data: bytes) -> None:
        self.transport.write(data)
        await self.writable.wait()

    async def _converse(self) -> None:
        while True:
            self.call = call = await self._read()
            await self.answer(call)
            call.answered_at = time.monotonic()
            self.notify()

    async def _read(self) -> Call:
        while (end := self.buffer.find(b"\r\n\r\n")) < 0:
            await self._more()
        first, *lines = self.buffer[:end].decode("latin-1").split("\r\n")
        method, path, _ = first.split(" ")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        del self.buffer[: end + 4]
        body = (
            await self._read_chunked()
            if headers.get("transfer-encoding") == "chunked"
            else await self._take(int(headers.get("content-length", 0)))
        )
        return Call(method, path, headers, body, self.number, time.monotonic())

    async def _read_chunked(self) -> bytes:
        body = b""
        while size := int(await self._take_line(), 16):
            body += await self._take(size)
            await self._take(2)
        await self._take_line()
        return body

    async def _take_line(self) -> bytes:
        while (end := self.buffer.find(b"\r\n")) < 0:
            await self._more()
        return (await self._take(end + 2))[:-2]

    async def _take(self, size: int) -> bytes:
        while len(self.buffer) < size:
            await self._more()
        taken = bytes(self.buffer[:size])
        del self.buffer[:size]
        return taken

    async def _more(self) -> None:
        self.more.clear()
        await self.more.wait()
