"""The least that Python can do, written for comparison: two bare uvloop protocols, a digest, one look-up in Redis, an engine asked.

    python bare.py PORT ENGINE_PORT REDIS_PORT REDIS_DATABASE

A prototype, and no more: it believes that every request is a well-formed chat request, every answer JSON or chunked, and that nobody fails,
leaves, or is slow. No keys, limits, metrics, logs, checks, shared calls or time limits: it shows what those cost, and what they are worth.
"""

import asyncio
import sys
from collections import deque
from collections.abc import Callable
from typing import Any

import hiredis
import pybase64
import uvloop
from blake3 import blake3

_MARK = b";base64,"
_NOT_YET: Any = object()
_JOINED = 16 * 2**10


class Redis(asyncio.Protocol):
    """What is asked in one turn of the loop leaves in one write."""

    def __init__(self) -> None:
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._waiting: deque[Callable[[bytes | None], None] | None] = deque()
        self._out: list[bytes] = []
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, *command: Any, then: Callable[[bytes | None], None] | None = None) -> None:
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(hiredis.pack_command(command))
        self._waiting.append(then)

    def _flush(self) -> None:
        out, self._out = self._out, []
        self._transport.write(b"".join(out))

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        while (reply := self._reader.gets()) is not _NOT_YET:
            if (then := self._waiting.popleft()) is not None:
                then(reply)


class Engine(asyncio.Protocol):
    def __init__(self, idle: "list[Engine]") -> None:
        self._idle = idle
        self._client: Client
        self._answer = b""
        self._length = 0  # of the whole answer, head included; 0 before it is known
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def ask(self, client: "Client", body: memoryview) -> None:
        self._client, self._answer, self._length = client, b"", 0
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        if len(body) < _JOINED:
            self._transport.write(head + body)
        else:
            self._transport.writelines((head, body))

    def data_received(self, data: bytes) -> None:
        self._answer += data
        if not self._length and (end := self._answer.find(b"\r\n\r\n")) >= 0:
            length = _length(self._answer[:end])
            self._length = -1 if length is None else end + 4 + length
        if self._length < 0:
            self._client.transport.write(data)
            if data.endswith(b"0\r\n\r\n"):
                self._idle.append(self)
        elif 0 < self._length <= len(self._answer):
            self._idle.append(self)
            self._client.answered(self._answer)


class Client(asyncio.Protocol):
    def __init__(self, redis: Redis, dial: Callable[[], Any], idle: list[Engine]) -> None:
        self._redis = redis
        self._dial = dial
        self._idle = idle
        self._pieces: list[bytes] = []
        self._came = self._length = self._start = 0
        self._key = b""
        self._body = memoryview(b"")
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self._pieces.append(data)
        self._came += len(data)
        if not self._length:
            data = b"".join(self._pieces)
            end = data.find(b"\r\n\r\n")
            if end < 0:
                return
            self._start = end + 4
            self._length = self._start + (_length(data[:end]) or 0)
        if self._came < self._length:
            return
        whole = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
        self._pieces, self._came, self._length = [], 0, 0
        if whole.startswith(b"GET "):
            self.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")
            return
        self._body = memoryview(whole)[self._start :]
        self._key = _key(whole, self._start)
        self._redis.ask(b"GET", self._key, then=self._found)

    def _found(self, kept: bytes | None) -> None:
        if kept is not None:
            self.transport.write(kept)
        elif self._idle:
            self._idle.pop().ask(self, self._body)
        else:
            asyncio.get_running_loop().create_task(self._ask_anew())

    async def _ask_anew(self) -> None:
        _, engine = await self._dial()
        engine.ask(self, self._body)

    def answered(self, answer: bytes) -> None:
        self.transport.write(answer)
        self._redis.ask(b"SET", self._key, answer, b"EX", b"600")


def _length(head: bytes) -> int | None:
    _, found, rest = head.lower().partition(b"content-length:")
    return int(rest.partition(b"\r\n")[0]) if found else None


def _key(whole: bytes, start: int) -> bytes:
    """A digest of the picture's bytes and one of everything else."""
    at = whole.find(_MARK, start)
    if at < 0:
        return blake3(memoryview(whole)[start:]).digest()
    end = whole.find(b'"', at)
    picture = pybase64.b64decode(memoryview(whole)[at + len(_MARK) : end], validate=True)
    return blake3(picture).digest() + blake3(whole[start:at] + whole[end:]).digest()


async def serve(port: int, engine: int, redis: int, database: int) -> None:
    loop = asyncio.get_running_loop()
    idle: list[Engine] = []
    _, store = await loop.create_connection(Redis, "127.0.0.1", redis)
    store.ask(b"SELECT", b"%d" % database)

    def dial() -> Any:
        return loop.create_connection(lambda: Engine(idle), "127.0.0.1", engine)

    server = await loop.create_server(lambda: Client(store, dial, idle), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(*map(int, sys.argv[1:5])))
