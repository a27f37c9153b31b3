"""A scriptable engine on a raw socket: vLLM's routes and shapes when it behaves, and the wire's worst when told to.

    with FakeEngine() as engine:
        engine.script = Script(ttft=0.05, rate=50)          # what every request gets
        engine.upcoming.append(Script(fault=Fault.RESET))   # what the next one gets instead
        ...
        call = engine.wait_for_call()                       # path, headers, body, when it came, when the client left

Also a program, for hands and load tests: `python -m tests.fakes.engine --port 8101 --ttft 0.05 --rate 50`.
"""

import argparse
import asyncio
import contextlib
import sys
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

from tests.fakes.answering import answer_chat, answer_plain, refuse_key
from tests.fakes.connection import Call, Connection
from tests.fakes.loop import LoopThread
from tests.fakes.script import Fault, Script, Wire

__all__ = ["Call", "FakeEngine", "Fault", "Script", "Wire"]


class FakeEngine:
    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        models: tuple[str, ...] = ("fake-vl",),
        key: str | None = None,
        script: Script | None = None,
    ) -> None:
        self.host = host
        self.port = port
        self.models = models
        self.key = key
        self.script = script or Script()
        self.upcoming: deque[Script] = deque()
        self.choose: Callable[[Call], Script | None] = lambda _: None  # a script for this very request; before all others
        self.healthy = True
        self.keep_bodies = True  # off for floods of large ones
        self.calls: list[Call] = []  # chat requests
        self.other_calls: list[Call] = []  # health checks, models, whatever else was tried
        self.pictures: set[str] = set()  # the uuids of those it has seen; take one out and it is forgotten
        self.open: set[_Connection] = set()
        self.connections = 0  # accepted since the start
        self.changed = threading.Condition()
        self._server: asyncio.Server | None = None

    def __enter__(self) -> Self:
        self._thread = LoopThread("fake-engine")
        self.listen()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.refuse()
        self._thread.stop()

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def listen(self) -> None:
        """Accepts connections, on the same port as before if there was one."""
        self._thread.run(self._listen())

    def refuse(self) -> None:
        """Closes the listening socket and resets every connection, as an engine that was killed does."""
        self._thread.run(self._refuse())

    def wait_for(self, holds: Callable[[], bool], within: float = 5.0) -> None:
        """Until `holds`, looked at whenever something happened here."""
        with self.changed:
            if not self.changed.wait_for(holds, within):
                raise AssertionError(f"did not come true within {within} s; calls: {self.calls}")

    def wait_for_call(self, number: int = 1, within: float = 5.0) -> Call:
        """The `number`th chat request since the start or the last `forget`."""
        self.wait_for(lambda: len(self.calls) >= number, within)
        return self.calls[number - 1]

    def forget(self) -> None:
        """As new: no calls, no scripts, well again. Connections stay."""
        self.script, self.choose, self.healthy, self.keep_bodies = Script(), lambda _: None, True, True
        self.upcoming.clear()
        self.calls.clear()
        self.other_calls.clear()

    def notify(self) -> None:
        with self.changed:
            self.changed.notify_all()

    def script_for(self, call: Call) -> Script:
        return self.choose(call) or (self.upcoming.popleft() if self.upcoming else self.script)

    async def _listen(self) -> None:
        if self._server is None:
            loop = asyncio.get_running_loop()
            self._server = await loop.create_server(lambda: _Connection(self), self.host, self.port, backlog=1024)
            self.port = self._server.sockets[0].getsockname()[1]

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for _ in range(3):  # what was accepted a moment ago is made in the next turns, and would be left open
            for connection in tuple(self.open):
                connection.reset()
            await asyncio.sleep(0)


class _Connection(Connection):
    def __init__(self, engine: FakeEngine) -> None:
        engine.connections += 1
        super().__init__(engine.connections, engine.notify)
        self.engine = engine

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.engine.open.add(self)
        self.engine.notify()

    def connection_lost(self, exc: Exception | None) -> None:
        self.engine.open.discard(self)
        super().connection_lost(exc)

    async def answer(self, call: Call) -> None:
        engine = self.engine
        chat = call.path.partition("?")[0] == "/v1/chat/completions"
        if chat:
            call.script = engine.script_for(call)
        (engine.calls if chat else engine.other_calls).append(call)
        engine.notify()
        if engine.key and call.path.startswith("/v1") and call.headers.get("authorization") != f"Bearer {engine.key}":
            await refuse_key(self)
        elif chat:
            await answer_chat(self, call, engine.models, engine.pictures)
        else:
            await answer_plain(self, call, engine.models, engine.healthy)
        if not engine.keep_bodies:
            call.body = b"{}"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fakes.engine", description="A scriptable stand-in for vLLM's chat endpoint.")
    parser.add_argument("--port", type=int, default=8101)
    parser.add_argument("--model", action="append", help="a served name; may be given more than once")
    parser.add_argument("--key", help="the API key that is asked for")
    parser.add_argument("--ttft", type=float, default=0.0, help="seconds until the first token")
    parser.add_argument("--rate", type=float, default=0.0, help="tokens a second; 0 is all at once")
    parser.add_argument("--tokens", type=int, help="tokens of each answer")
    parser.add_argument("--die-after", type=int, metavar="N", help="reset the connection after N tokens")
    parser.add_argument(
        "--garbage", type=Fault, choices=list(Fault), default=Fault.NONE, help="the fault of each answer, after --after tokens"
    )
    parser.add_argument("--after", type=int, default=0)
    parser.add_argument("--cut", choices=["event", "byte", "random", "joined"], default="event", help="what goes into one write")
    wanted = parser.parse_args()
    fault, after = (wanted.garbage, wanted.after) if wanted.die_after is None else (Fault.CUT, wanted.die_after)
    script = Script(ttft=wanted.ttft, rate=wanted.rate, tokens=wanted.tokens, fault=fault, after=after, wire=Wire(cut=wanted.cut))
    with FakeEngine(port=wanted.port, models=tuple(wanted.model or ("fake-vl",)), key=wanted.key, script=script) as engine:
        sys.stdout.write(f"fake engine at {engine.url}\n")
        sys.stdout.flush()
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
