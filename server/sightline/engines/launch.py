"""A vLLM server of our own: started, watched, started again when it dies, and taken down with us, with all its processes.

    async with Engine(spec, log=path) as engine:
        await engine.ready()
        … engine.url, engine.key …

The first start must succeed: if it does not, `ready` raises EngineFailed with what the engine said. From then on nothing makes it give
up: each death is followed by another start, after a pause that doubles up to a minute. Address and key stay the same throughout.
"""

import asyncio
import base64
import contextlib
import os
import re
import secrets
import signal
import socket
import struct
import sys
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from typing import Self

import aiohttp

from sightline.engines import processes
from sightline.engines.spec import EngineSpec, command, variables

_GRACE = 8.0  # seconds between SIGTERM and SIGKILL; vLLM on a CPU takes about one
_POLL = 0.25
_WATCH = 5.0  # seconds between looks at a running engine
_MISSES = 12  # looks in vain after which an engine that runs but does not answer is ended
_PAUSE, _LONGEST_PAUSE = 1.0, 60.0
_STEADY = 60.0  # seconds of service after which a death counts as the first again


class EngineFailed(Exception):
    """The engine did not start; the message says what it said, and where the rest stands."""


class State(Enum):
    STARTING = "starting"
    READY = "ready"
    DIED = "died"
    STOPPED = "stopped"


Changed = Callable[[State, str], None]


class Kept:
    """A command below a keeper: it ends when this process does, and all that it started with it."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], *, grace: float, log: Path | None = None) -> None:
        self._command = (sys.executable, "-P", "-m", "sightline.engines.keeper", str(grace), *command)
        self._variables = dict(variables)
        self._grace = grace
        self._log = log
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int:
        """The keeper's; what it keeps is below it."""
        if self._process is None:
            raise RuntimeError("not started")
        return self._process.pid

    async def start(self) -> None:
        with contextlib.ExitStack() as stack:
            output = stack.enter_context(self._log.open("ab")) if self._log else None
            # A session of its own: Ctrl-C on the terminal is ours to pass on. stdin is the thread its life hangs by.
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdin=asyncio.subprocess.PIPE, stdout=output, stderr=output, env=self._variables, start_new_session=True
            )

    async def wait(self) -> int:
        """The command's exit status, once nothing of it is left."""
        if self._process is None:
            raise RuntimeError("not started")
        status = await self._process.wait()
        self._end_group()  # whatever a keeper that was itself killed has left
        return status

    def signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.send_signal(number)

    async def stop(self) -> None:
        """Ends it gently, then surely."""
        if self._process is None or self._process.returncode is not None:
            return
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(self._grace + 5):
                await self.wait()
        except TimeoutError:
            processes.end([*processes.below(self.pid), self.pid], signal.SIGKILL)
            await self.wait()

    def _end_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


class Engine:
    """`log` takes the output of all its starts; `on_change` is told each state and one line about it."""

    def __init__(
        self,
        spec: EngineSpec,
        *,
        log: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        key: str | None = None,
        on_change: Changed | None = None,
    ) -> None:
        self.spec = spec
        self.log = log
        self.port = port or free_port()
        self.key = key or secrets.token_urlsafe(32)
        self.state = State.STARTING
        self.restarts = 0
        self._on_change = on_change or (lambda _state, _line: None)
        self._kept = Kept(command(spec, self.port, host), variables(spec, self.key, os.environ), grace=_GRACE, log=log)
        self._first: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._up = asyncio.Event()
        self._supervisor: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """From here; others who may reach it know this machine by another name."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        return self._kept.pid

    async def __aenter__(self) -> Self:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.write_bytes(b"")
        await self._kept.start()
        self._supervisor = asyncio.create_task(self._supervise(), name="engine supervisor")
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._supervisor is not None:
            self._supervisor.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._supervisor
        await self._kept.stop()
        if not self._first.done():
            self._first.cancel()
        elif not self._first.cancelled():
            self._first.exception()  # looked at, so that the loop does not complain
        self._turn(State.STOPPED, "engine: stopped")

    async def ready(self) -> None:
        """Until it answers; raises EngineFailed if it dies at its first start instead."""
        await asyncio.shield(self._first)
        await self._up.wait()

    async def _supervise(self) -> None:
        deaths = 0
        while True:
            began, was_up = time.monotonic(), False
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {self.key}"}, trust_env=False) as session:
                ended = asyncio.create_task(self._kept.wait())
                try:
                    was_up = await self._attend(session, ended, began)
                    status = await ended
                finally:
                    ended.cancel()
            if not self._first.done():
                self._first.set_exception(EngineFailed(failure(self.log, status)))
                return
            deaths = 1 if was_up and time.monotonic() - began > _STEADY else deaths + 1
            delay = pause(deaths)
            self.restarts += 1
            self._turn(State.DIED, f"engine: died ({described(status)}); starting it again in {delay:.0f} s. Its log: {self.log}")
            await asyncio.sleep(delay)
            self._turn(State.STARTING, "engine: starting again")
            await self._kept.start()

    async def _attend(self, session: aiohttp.ClientSession, ended: asyncio.Task[int], began: float) -> bool:
        """Until the engine has ended; whether it had been ready before."""
        while not await self._healthy(session):
            if await _done_within(ended, _POLL):
                return False
        await self._warm(session)
        if ended.done():
            return False
        self._turn(State.READY, f"engine: ready after {time.monotonic() - began:.0f} s")
        misses = 0
        while not await _done_within(ended, _WATCH):
            misses = 0 if await self._healthy(session) else misses + 1
            if misses == _MISSES:
                await self._kept.stop()
        return True

    async def _healthy(self, session: aiohttp.ClientSession) -> bool:
        try:
            async with session.get(f"{self.url}/health", timeout=aiohttp.ClientTimeout(total=_WATCH)) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def _warm(self, session: aiohttp.ClientSession) -> None:
        """One picture and one request for logprobs, so that no caller waits for what the engine does only once. Best effort."""
        for content, more in ((picture_parts(), {}), ("1", {"logprobs": True, "top_logprobs": 1})):
            body = {"model": self.spec.name, "messages": [{"role": "user", "content": content}], "max_tokens": 2, "temperature": 0} | more
            with contextlib.suppress(aiohttp.ClientError, TimeoutError, OSError):
                url, limit = f"{self.url}/v1/chat/completions", aiohttp.ClientTimeout(total=120)
                async with session.post(url, json=body, timeout=limit) as response:
                    await response.read()

    def _turn(self, state: State, line: str) -> None:
        self.state = state
        if state is State.READY:
            self._up.set()
            if not self._first.done():
                self._first.set_result(None)
        else:
            self._up.clear()
        self._on_change(state, line)


def pause(deaths: int) -> float:
    """Seconds before the next start, after this many deaths in a row: 1, 2, 4 … 60."""
    return min(_PAUSE * 2.0 ** min(deaths - 1, 10), _LONGEST_PAUSE)


def described(status: int) -> str:
    """An exit status in words. A keeper gives its command's; one that was itself killed has a negative one."""
    number = -status if status < 0 else status - 128
    with contextlib.suppress(ValueError):
        if number > 0:
            return f"killed by {signal.Signals(number).name}{', perhaps for memory' if number == signal.SIGKILL else ''}"
    return f"exit status {status}"


def failure(log: Path, status: int) -> str:
    """What a first start that failed is told as: the engine's own last error, the lines around it, and where the rest stands."""
    lines = [
        re.sub(r"^\(\w+ pid=\d+\) ", "", line) for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()
    ]
    errors = [line for line in lines if re.match(r"^(?:(?:ERROR|CRITICAL) .*?\] )?\w*(?:\.\w+)*(?:Error|Exception|error): ?", line)]
    reason = f": {errors[-1].rpartition('] ')[2][:300]}" if errors else ""
    tail = "\n".join(f"  | {line[:200]}" for line in lines[-8:])
    return f"The engine did not start ({described(status)}){reason}\n{tail}\nIts whole log: {log}"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def picture_parts() -> list[dict[str, object]]:
    """A grey 224 × 112 PNG and a question about it, as a message's content."""
    width, height = 224, 112

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = (b"\0" + b"\x80" * width) * height
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    png += chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    url = f"data:image/png;base64,{base64.b64encode(png).decode()}"
    return [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "What colour is it?"}]


async def _done_within(task: asyncio.Task[int], seconds: float) -> bool:
    done, _ = await asyncio.wait([task], timeout=seconds)
    return bool(done)
