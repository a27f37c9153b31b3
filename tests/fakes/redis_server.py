"""A real `redis-server` on a free loopback port, to be asked, stopped, killed and started again by a test."""

import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import BinaryIO

START_SECONDS = 15.0


class RedisServer:
    """`arguments` are redis-server's own (`--requirepass x`). Keeps its port and folder over restarts; saves nothing unless told."""

    def __init__(self, folder: Path, *arguments: str, port: int = 0, sentinel: bool = False, tls: bool = False) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._arguments = arguments
        self._sentinel = sentinel
        self._ports = ("--port", "0", "--tls-port", str(self.port)) if tls else ("--port", str(self.port))
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = False

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def start(self, *more: str, wait: bool = True) -> None:
        """Starts it and waits until it accepts connections (which it does while it is loading, too)."""
        program = shutil.which("redis-server")
        assert program, "these tests need redis-server"
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._sentinel:  # a Sentinel keeps its state in its file of settings
            file = self.folder / "sentinel.conf"
            file.write_text("\n".join(self._arguments) + f"\nport {self.port}\nbind 127.0.0.1\n")
            command = [program, str(file), "--sentinel"]
        else:
            command = [
                program,
                *self._ports,
                "--bind",
                "127.0.0.1",
                "--dir",
                str(self.folder),
                "--save",
                "",
                "--enable-protected-configs",
                "yes",
                *self._arguments,
                *more,
            ]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        limit = time.monotonic() + START_SECONDS
        while wait and not _accepts(self.port):
            assert self.running, (self.folder / "log").read_text()
            assert time.monotonic() < limit, "redis-server did not start"
            time.sleep(0.01)

    def tell(self, *words: str | int | bytes, password: str | None = None) -> bytes:
        """Sends one command over a connection of its own; the raw reply. Unlike any client, it works whatever state the server is in."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as link, link.makefile("rb") as lines:
            if password:
                link.sendall(_pack("AUTH", password))
                _read(lines)
            link.sendall(_pack(*words))
            return _read(lines)

    def connections(self) -> int:
        """How many it has accepted since it started; asking makes one more."""
        [line] = [line for line in self.tell("INFO", "stats").splitlines() if line.startswith(b"total_connections_received:")]
        return int(line.partition(b":")[2])

    def pause(self) -> None:
        """SIGSTOP: connections stay, connecting works, nothing answers."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        self._stopped = True

    def resume(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGCONT)
        self._stopped = False

    def kill(self) -> None:
        """SIGKILL, as the kernel does it to whom memory has run out for."""
        if self._process is None:
            return
        if self._stopped:
            self.resume()
        if self.running:
            os.kill(self._process.pid, signal.SIGKILL)
        self._process.wait(timeout=10)
        self._process = None

    def restart(self, *more: str) -> None:
        self.kill()
        self.start(*more)


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key, as PEM files."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"]
    made += [
        "-subj",
        "/CN=localhost",
        "-addext",
        "subjectAltName=DNS:localhost,IP:127.0.0.1",
        "-keyout",
        str(key),
        "-out",
        str(certificate),
    ]
    subprocess.run(made, check=True, capture_output=True, timeout=30)
    return certificate, key


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def _pack(*words: str | int | bytes) -> bytes:
    parts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)


def _read(lines: BinaryIO) -> bytes:
    """One reply; of an array, its items joined by spaces."""
    line = lines.readline().rstrip()
    if line[:1] == b"$" and line != b"$-1":
        return lines.read(int(line[1:]) + 2)[:-2]
    if line[:1] == b"*":
        return b" ".join(_read(lines) for _ in range(int(line[1:])))
    return line
