"""A small TCP proxy that makes a wire slow, cuts it, or lets everything vanish; and a port at which connecting gets no answer at all."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from tests.fakes.loop import LoopThread

PIECE = 4096


class ChaosProxy:
    """Its attributes may be changed at any time; they hold from the next piece on, in both directions.

    delay: seconds that each piece waits · rate: bytes a second, 0 without limit · blackhole: pieces are swallowed, connections stay.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = (host, port)
        self.port = 0
        self.delay = 0.0
        self.rate = 0.0
        self.blackhole = False
        self.connections = 0  # accepted since the start
        self.carried = 0  # bytes in both directions since the start
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    def __enter__(self) -> Self:
        self._thread = LoopThread("chaos-proxy")
        self.listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.refuse()
        self._thread.stop()

    def listen(self) -> None:
        self._thread.run(self._listen())

    def refuse(self) -> None:
        """Takes no new connections and cuts those that stand; `listen` ends it, on the same port."""
        self._thread.run(self._close())

    def cut(self) -> None:
        """Resets every connection that stands; new ones are taken."""
        self._thread.run(self._cut())

    async def _listen(self) -> None:
        if self._server is None:
            self._server = await asyncio.start_server(self._relay, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        for writer in tuple(self._writers):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            far_reader, far_writer = await asyncio.open_connection(*self.target)
            self._writers.add(far_writer)
            try:
                await asyncio.gather(self._pump(reader, far_writer), self._pump(far_reader, writer))
            finally:
                self._writers.discard(far_writer)
                far_writer.close()
        except OSError:
            writer.transport.abort()
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(PIECE if self.rate else 16 * PIECE):
            self.carried += len(piece)
            if self.delay:
                await asyncio.sleep(self.delay)
            if self.rate:
                await asyncio.sleep(len(piece) / self.rate)
            if not self.blackhole:
                writer.write(piece)
                await writer.drain()
        with contextlib.suppress(OSError):
            writer.write_eof()


@contextlib.contextmanager
def unanswered_port() -> Iterator[int]:
    """A port whose SYNs are dropped: its queue of connections is full and nobody accepts."""
    with contextlib.ExitStack() as held:
        listener = held.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = held.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        yield listener.getsockname()[1]
