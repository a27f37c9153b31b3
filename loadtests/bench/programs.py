"""Programs of a run: each in a session of its own, pinned to one core, its output in a log, and ended by pid, never by name."""

import contextlib
import http.client
import os
import random
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

HARNESS, GATEWAY = 0, 1  # the core of engine, Redis and load generator, and the core of whichever gateway is measured


class Invalid(Exception):
    """The run says nothing; the message says why, in a sentence."""


@dataclass(frozen=True, slots=True)
class Command:
    """What is started, and what its environment holds besides ours."""

    arguments: Sequence[str]
    environ: Mapping[str, str] = field(default_factory=dict)


class Program:
    """A running command; `with` ends it and whatever descends from it."""

    def __init__(self, name: str, command: Command, core: int, log: Path) -> None:
        self.name, self.core, self.log = name, core, log
        log.parent.mkdir(parents=True, exist_ok=True)
        kept = {key: value for key, value in os.environ.items() if not key.startswith("SIGHTLINE_")}
        with log.open("wb") as out, on_core(core):  # a child starts on its parent's core
            self.popen = subprocess.Popen(
                command.arguments,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
                env=kept | dict(command.environ),
            )
        first(self.popen.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        return self.popen.poll() is None

    def pids(self) -> list[int]:
        """Its session and all descendants."""
        table, mine = _processes(), {self.popen.pid}
        for _ in range(8):  # generations
            mine |= {pid for pid, (parent, session) in table.items() if parent in mine or session == self.popen.pid}
        return sorted(mine & set(table))

    def pin(self) -> None:
        """To its core, threads that have moved away by themselves included."""
        for pid in self.pids():
            with contextlib.suppress(OSError):
                for task in Path(f"/proc/{pid}/task").iterdir():
                    os.sched_setaffinity(int(task.name), {self.core})

    def stop(self, patience: float = 10.0) -> None:
        for number, seconds in ((signal.SIGTERM, patience), (signal.SIGKILL, 2.0)):
            mine = self.pids()
            for pid in mine if number == signal.SIGKILL else [self.popen.pid]:
                with contextlib.suppress(OSError):
                    os.kill(pid, number)
            end = time.monotonic() + seconds
            while self.running or self.pids():
                if time.monotonic() > end:
                    break
                time.sleep(0.05)

    def tail(self) -> str:
        return "\n".join(line[:300] for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-8:])


def first(pid: int) -> None:
    """Lets the session of `pid` go before other work on the machine, as far as that lets us."""
    with contextlib.suppress(OSError):
        Path(f"/proc/{pid}/autogroup").write_text("-10", encoding="ascii")


@contextlib.contextmanager
def on_core(core: int) -> Iterator[None]:
    """This thread runs on that core meanwhile."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def free_port() -> int:
    """A port with a free successor (vllm-router's metrics listen on the next one), outside the range of outgoing ones."""
    for _ in range(500):
        port = random.randrange(20000, 30000, 2)
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", port))
            two.bind(("127.0.0.1", port + 1))
            return port
    raise Invalid("no free port was found between 20000 and 30000.")


def ask(port: int, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None) -> tuple[int, bytes]:
    """One request over a connection of its own: status and body."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request("POST" if body else "GET", path, body, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def wait_ready(program: Program, port: int, *paths: str, headers: Mapping[str, str] | None = None, seconds: float = 120) -> None:
    """Until one of `paths` says 200. Raises Invalid with the end of the program's log."""
    end = time.monotonic() + seconds
    while program.running and time.monotonic() < end:
        with contextlib.suppress(OSError, http.client.HTTPException):
            if any(ask(port, path, headers=headers)[0] == 200 for path in paths):
                return
        time.sleep(0.1)
    raise Invalid(f"{program.name} did not become ready. The end of {program.log}:\n{program.tail()}")


def _processes() -> dict[int, tuple[int, int]]:
    """Each live process: pid → (parent, session)."""
    found = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                stat = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                if stat[0] != "Z":
                    found[int(entry.name)] = (int(stat[1]), int(stat[3]))
    return found
