"""A real `sightline serve`, in a process of its own, and what tests look at from outside: its port, its log, its end."""

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import httpx

COMMAND = (str(Path(sys.executable).with_name("sightline")),)
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_TOP_PAD_": "67108864"}
START = 30.0  # seconds; a start costs about one


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def environment(**settings: object) -> dict[str, str]:
    """Ours without its SIGHTLINE_ variables; `timeouts__body=1` becomes SIGHTLINE_TIMEOUTS__BODY=1.

    malloc is told already what `serve` tells it, so that the process need not start itself anew: that halves its start.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_")}
    return kept | MALLOC | {f"SIGHTLINE_{name.upper()}": str(value) for name, value in settings.items()}


def eventually(holds: Callable[[], object], within: float = 5.0, what: str = "it") -> None:
    """Looks again and again until `holds`; fails when it does not within so many seconds."""
    end = time.monotonic() + within
    while not holds():
        assert time.monotonic() < end, f"{what} did not come true within {within} s"
        time.sleep(0.005)


class Raw(NamedTuple):
    status: int
    headers: Mapping[str, str]
    body: bytes


class GatewayProcess:
    """Started by `with`, and live then; ended with it."""

    def __init__(
        self, *engines: str, flags: Sequence[str] = (), environ: Mapping[str, str] | None = None, command: Sequence[str] = COMMAND
    ) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._engines = engines
        self._flags = flags
        self._environ = environ
        self._command = command

    def __enter__(self) -> Self:
        self._log = tempfile.TemporaryFile()
        command = [
            *self._command,
            "serve",
            "--port",
            str(self.port),
            *(word for url in self._engines for word in ("--engine", url)),
            *self._flags,
        ]
        self.process = subprocess.Popen(
            command, env=self._environ or environment(), stdout=self._log, stderr=self._log, start_new_session=True
        )
        try:
            eventually(self._live, START, f"{' '.join(command)} live")
        except AssertionError as error:
            error.add_note(self.log())
            self.__exit__(None, None, None)
            raise
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.client = httpx.Client(base_url=self.url, timeout=20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        if hasattr(self, "client"):
            self.client.close()
        self._log.close()

    def chat(self, body: Mapping[str, Any], **kwargs: Any) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=body, **kwargs)

    def raw(self, data: bytes, within: float = 5.0) -> Raw:
        """What comes back on a connection of its own for exactly these bytes."""
        with self.connect(within) as wire:
            wire.sendall(data)
            return read_response(wire)

    def connect(self, within: float = 5.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), within)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def log(self) -> str:
        self._log.flush()
        return os.pread(self._log.fileno(), 2**24, 0).decode()

    def events(self, name: str, **fields: object) -> list[dict[str, Any]]:
        """The log lines of this event whose fields have these values."""
        lines = [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]
        return [line for line in lines if line["event"] == name and all(line.get(key) == value for key, value in fields.items())]

    def finished(self, request_id: str, within: float = 5.0) -> dict[str, Any]:
        """The one log line of a request."""
        eventually(lambda: self.events("request.finished", request_id=request_id), within, f"a log line for {request_id}")
        (line,) = self.events("request.finished", request_id=request_id)
        return line

    def memory(self) -> int:
        """Bytes of the process that are in memory now."""
        pages = int(Path(f"/proc/{self.process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def peak_memory(self) -> int:
        """The most bytes of the process that ever were in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM"))

    def _live(self) -> bool:
        assert self.process.poll() is None, f"the gateway ended with {self.process.returncode}: {self.log()}"
        try:
            return httpx.get(f"{self.url}/health/live", timeout=1).status_code == 200
        except httpx.TransportError:
            return False


def ready(gateway: GatewayProcess) -> GatewayProcess:
    """Once an engine is up."""
    eventually(lambda: gateway.client.get("/health/ready").status_code == 200, 10, "readiness")
    return gateway


def read_response(wire: socket.socket) -> Raw:
    """One response with a content-length or in chunks, and not a byte of what follows it."""
    first, *lines = _until(wire, b"\r\n\r\n").decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    body = _receive(wire, int(headers["content-length"])) if "content-length" in headers else _chunks(wire)
    return Raw(int(first.split()[1]), headers, body)


def _chunks(wire: socket.socket) -> bytes:
    body = b""
    while size := int(_until(wire, b"\r\n"), 16):
        body += _receive(wire, size)
        assert _receive(wire, 2) == b"\r\n"
    assert _receive(wire, 2) == b"\r\n"
    return body


def _until(wire: socket.socket, end: bytes) -> bytes:
    """What comes before `end`."""
    data = b""
    while not data.endswith(end):
        data += _receive(wire, 1)
    return data[: -len(end)]


def _receive(wire: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = wire.recv(size - len(data))
        if not piece:
            raise EOFError(f"the gateway closed the connection after {data!r}")
        data += piece
    return data
