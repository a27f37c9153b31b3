"""A real nginx with the files of deploy/nginx, on a free loopback port, in front of the gateways that a test names."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from tests.serving import eventually, free_port

SOURCE = Path(__file__).parents[2] / "deploy/nginx"
PROGRAM = shutil.which("nginx") or "/usr/sbin/nginx"
# With root as its master nginx gives up root in its workers, which then cannot write into a test's folder.
USER = ("-g", "user root;") if os.geteuid() == 0 else ()


class Nginx:
    """Started by `with`, gone with it. `gateways` are `HOST:PORT`; `changed` replaces texts that gateway.conf must have."""

    def __init__(self, folder: Path, *gateways: str, listen: str = "", changed: Mapping[str, str] | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.folder = folder
        lay_out(folder, changed or {})
        host = (SOURCE / "upstream/host.conf").read_text(encoding="utf-8")
        servers = "\n".join(host.replace("127.0.0.1:8080", gateway) for gateway in gateways)
        (folder / "sightline/upstream.conf").write_text(servers, encoding="utf-8")
        text = f"listen 127.0.0.1:{self.port}{listen};\naccess_log {folder}/access.log sightline;\n"
        (folder / "sightline/listen.conf").write_text(text, encoding="utf-8")

    def __enter__(self) -> Self:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen([*_command(self.folder)], stdout=log, stderr=log, start_new_session=True)
        try:
            eventually(self._listens, 10, "nginx")
        except BaseException:
            self.__exit__(None, None, None)
            raise
        self.client = httpx.Client(base_url=self.url, timeout=20)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.process.terminate()
        self.process.wait(10)
        if hasattr(self, "client"):
            self.client.close()

    def chat(self, body: Mapping[str, Any], **kwargs: Any) -> httpx.Response:
        return self.client.post("/v1/chat/completions", json=body, **kwargs)

    def connect(self, within: float = 10.0) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), within)

    def lines(self) -> list[dict[str, Any]]:
        """Its access log, a request a line."""
        return [json.loads(line) for line in (self.folder / "access.log").read_text(encoding="utf-8").splitlines()]

    def _listens(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text(encoding="utf-8")
        try:
            self.connect(1).close()
        except OSError:
            return False
        return True


def lay_out(folder: Path, changed: Mapping[str, str]) -> None:
    """The files as every place lays them: nginx.conf, gateway.conf beside it, the small ones in sightline/."""
    (folder / "sightline").mkdir(parents=True)
    shutil.copy(SOURCE / "nginx.conf", folder)
    shutil.copy(SOURCE / "tls.conf", folder / "sightline")
    text = (SOURCE / "gateway.conf").read_text(encoding="utf-8")
    for old, new in changed.items():
        assert old in text, f"gateway.conf has no {old!r}"
        text = text.replace(old, new)
    (folder / "gateway.conf").write_text(text, encoding="utf-8")


def judged(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `nginx -t` says of the files in `folder`."""
    return subprocess.run([*_command(folder), "-t"], capture_output=True, text=True, timeout=20, check=False)


def _command(folder: Path) -> tuple[str, ...]:
    return (PROGRAM, "-e", "stderr", "-p", str(folder), "-c", str(folder / "nginx.conf"), *USER)
