"""What tests ask of a real engine: its address and key, its processes, whether it is there."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from sightline.engines import processes

START = 300.0  # seconds: a start takes about 40, on a busy machine four times that


@dataclass(frozen=True)
class RealEngine:
    """`client` asks it directly; `pid` is that of `sightline engine run`, `log` what that says."""

    url: str
    key: str
    model: str
    adapter: str
    pid: int
    log: Path
    client: httpx.Client

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Connections are accepted, and nothing is answered, until the block ends."""
        server = self.server()
        os.kill(server, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(server, signal.SIGCONT)

    def server(self) -> int:
        """The API server's pid: the process that vLLM's others hang below."""
        return next(pid for pid in processes.below(self.pid) if "serve" in words(pid) and words(pid)[1].endswith("/vllm"))

    def healthy(self) -> bool:
        try:
            return self.client.get("/health").status_code == 200
        except httpx.TransportError:
            return False


def words(pid: int) -> list[str]:
    """A process's command line; empty words for one that has gone."""
    try:
        return [*Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0"), "", ""]
    except OSError:
        return ["", ""]


def alive(pids: list[int]) -> list[int]:
    parent_of = processes.parents()
    return [pid for pid in pids if pid in parent_of]
