"""Two gateways, two engines, Redis and callers of every kind: in a few seconds all happens to them that their metrics can tell.

`acts` are played over and over until whoever watches has seen enough: what counts once a second is seen to grow.
"""

import functools
import json
import signal
import socket
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from tests.fakes.engine import Call, FakeEngine, Fault, Script
from tests.fakes.redis_server import RedisServer
from tests.keyring import KeyRing, bearer
from tests.serving import COMMAND, GatewayProcess, environment, eventually, free_port, ready
from tests.shapes import ask, data_uri, head, picture, question

_DEAF = ("/bin/sh", "-c", 'exec "$0" "$@" 2> /dev/full', *COMMAND)  # its log cannot be written
_SPECIAL = {"reset": Script(fault=Fault.RESET), "late": Script(ttft=1.1), "drain": Script(ttft=4)}  # what engines do, by who asks


class Scene:
    """`busy` has keys, limits and pictures; `narrow` one place at the engines, a queue for one, and no log. `metrics` are their ports."""

    def __init__(self, folder: Path) -> None:
        self.redis = RedisServer(folder / "redis")
        self.keys = KeyRing(folder / "keys.yaml")
        self.metrics = [f"127.0.0.1:{free_port()}" for _ in range(2)]
        self._folder = folder
        self._key = self.keys.new("acme")
        self._small = self.keys.new("small", limits={"requests_per_minute": 1})
        self._number = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.redis.start()
            stack.callback(self.redis.kill)
            self.well, self.ill = (stack.enter_context(FakeEngine()) for _ in range(2))
            for engine in (self.well, self.ill):
                engine.script = Script(ttft=0.1, rate=100)
                engine.choose = lambda call: _SPECIAL.get(call.json.get("user", ""))
            self._pictures = stack.enter_context(_Files(self._folder))
            self._callers = ThreadPoolExecutor(8)
            stack.callback(self._callers.shutdown)  # after the gateways: who still waits for one is let go by its end
            both = self.well.url, self.ill.url
            self.busy = stack.enter_context(
                GatewayProcess(
                    *both,
                    flags=("--metrics-port", self.metrics[0].partition(":")[2]),
                    environ=environment(
                        store=self.redis.url,
                        keys_file=self.keys.file,
                        images__fetch__allow_networks="127.0.0.0/8",
                        images__fetch__ports=self._pictures.port,
                        images__fetch__keep_bytes=0,
                    ),
                )
            )
            self.narrow = stack.enter_context(
                GatewayProcess(
                    *both,
                    flags=("--metrics-port", self.metrics[1].partition(":")[2]),
                    environ=environment(
                        store=self.redis.url,
                        limits__engine_requests=1,
                        limits__queue=1,
                        limits__queue_seconds=5,
                        timeouts__drain=5,
                        log_format="json",
                    ),
                    command=_DEAF,
                )
            )
            ready(self.busy)
            ready(self.narrow)
            self._held = self._hold_a_body()
            stack.callback(self._held.close)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.__exit__(kind, error, trace)

    def play(self) -> None:
        """One act of each kind, at once: none waits for another. Every third time Redis does not answer, and one engine is ill."""
        self._number += 1
        if self._number % 3 == 2:
            self.redis.pause()
            self.ill.healthy = False
        elif self._number % 3 == 0:
            self.redis.resume()
            self.ill.healthy = True
        acts: list[Callable[[], object]] = [
            self._twice,
            self._streams,
            self._sampled,
            self._together,
            self._wrong,
            self._by_url,
            self._too_many,
            self._too_much,
            self._leave,
            self._fail,
            self._late,
            self._new_keys,
        ]
        for act in [self._callers.submit(act) for act in acts]:
            act.result(20)

    def drain(self) -> None:
        """The narrow gateway is told to stop while an answer is under way that takes a few seconds."""
        before = len(self._drained())
        self._callers.submit(self._post, self.narrow, ask(user="drain"), None)
        eventually(lambda: len(self._drained()) > before, 10, "the last question at an engine")
        self.narrow.signal(signal.SIGTERM)

    def _drained(self) -> list[Call]:
        return [call for engine in (self.well, self.ill) for call in engine.calls if call.json.get("user") == "drain"]

    def _ask(self, body: dict[str, Any]) -> httpx.Response:
        return self._post(self.busy, body, self._key)

    def _post(self, gateway: GatewayProcess, body: dict[str, Any], key: str | None) -> httpx.Response:
        return httpx.post(f"{gateway.url}/v1/chat/completions", json=body, headers=bearer(key) if key else {}, timeout=20)

    def _seen(self) -> str:
        """A picture that nobody has shown before."""
        self._shown = getattr(self, "_shown", 0) + 1
        return data_uri(picture(40 + self._shown, 30))

    def _twice(self) -> None:
        body = ask(pictures=(self._seen(),))
        for _ in range(3):
            self._ask(body)

    def _streams(self) -> None:
        body = ask(stream=True)
        for _ in range(2):
            self._ask(body)

    def _sampled(self) -> None:
        self._ask(ask(temperature=0.9))

    def _together(self) -> None:
        body = ask()
        others = [threading.Thread(target=self._ask, args=(body,)) for _ in range(2)]
        for other in others:
            other.start()
        for other in others:
            other.join()

    def _wrong(self) -> None:
        self._ask(ask(pictures=("data:image/png;base64,AAAA",)))
        self._ask(ask(model="nobody's"))

    def _by_url(self) -> None:
        for name in ("picture.png", "none.png"):
            self._ask(ask(question(), pictures=(f"http://127.0.0.1:{self._pictures.port}/{name}",)))

    def _too_many(self) -> None:
        for _ in range(2):
            self._post(self.busy, ask(), self._small)

    def _too_much(self) -> None:
        """One is asked, one waits, two are sent away."""
        crowd = [threading.Thread(target=self._post, args=(self.narrow, ask(), None)) for _ in range(4)]
        for one in crowd:
            one.start()
        for one in crowd:
            one.join()

    def _leave(self) -> None:
        body = json.dumps(ask(stream=True)).encode()
        with self.busy.connect() as wire:
            wire.sendall(head(len(body), f"authorization: Bearer {self._key}") + body)
            wire.recv(1)

    def _fail(self) -> None:
        self._ask(ask(user="reset"))

    def _late(self) -> None:
        if self._number <= 2:
            self._ask(ask(user="late"))

    def _new_keys(self) -> None:
        """The busy gateway looks once a second: it sees some of these."""
        self.keys.write("keys: nonsense\n" if self._number % 4 < 2 else None)

    def _hold_a_body(self) -> socket.socket:
        """A body that comes to a halt."""
        wire = self.busy.connect(60)
        wire.sendall(head(100_000, f"authorization: Bearer {self._key}") + b" " * 50_000)
        return wire


class _Files:
    """A web server with one picture."""

    def __init__(self, folder: Path) -> None:
        served = folder / "served"
        served.mkdir()
        (served / "picture.png").write_bytes(picture())

        class Handler(SimpleHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                """Says nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(served)))
        self.port = self._server.server_port

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(5)
