"""nginx never sends a question twice: who has read it and then fails is the last to see it. Who could not be reached is no such one."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.deploy.proxy import Nginx
from tests.serving import free_port
from tests.shapes import ask, refusal

ANSWER = b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}"


class Gateway:
    """Reads one request a connection, notes its path in `seen`, sends `answer` (nothing, if it is empty) and closes."""

    def __init__(self, answer: bytes, seen: list[str]) -> None:
        self._seen = seen
        self._answer = answer
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        while True:
            try:
                wire, _ = self._listener.accept()
            except OSError:
                return
            with wire, wire.makefile("rb") as lines:
                first = lines.readline()
                if not first:
                    continue
                sizes = [int(line[15:]) for line in iter(lines.readline, b"\r\n") if line.lower().startswith(b"content-length:")]
                lines.read(sum(sizes))
                self._seen.append(first.decode().split()[1])
                wire.sendall(self._answer)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@contextmanager
def gateways(*answers: bytes) -> Iterator[tuple[list[str], list[str]]]:
    """One for each answer: their addresses, and the paths that they saw."""
    seen: list[str] = []
    found = [Gateway(answer, seen) for answer in answers]
    threads = [threading.Thread(target=gateway.serve) for gateway in found]
    for thread in threads:
        thread.start()
    try:
        yield [gateway.address for gateway in found], seen
    finally:
        for gateway, thread in zip(found, threads, strict=True):
            gateway.close()
            thread.join()


def test_a_question_that_was_sent_is_not_sent_again(tmp_path: Path) -> None:
    with gateways(b"", b"") as (addresses, seen), Nginx(tmp_path / "etc", *addresses) as nginx:
        refusal(nginx.chat(ask()), 502, "engine_error", "server_error")

        assert seen == ["/v1/chat/completions"]


def test_what_changes_nothing_may_be_asked_of_another(tmp_path: Path) -> None:
    with gateways(b"", b"") as (addresses, seen), Nginx(tmp_path / "etc", *addresses) as nginx:
        assert nginx.client.get("/v1/models").status_code == 502

        assert seen == ["/v1/models", "/v1/models"]


def test_a_question_that_could_not_be_sent_goes_to_another(tmp_path: Path) -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with gateways(ANSWER) as (addresses, _), Nginx(tmp_path / "etc", nobody, *addresses) as nginx:
        statuses = {nginx.chat(ask()).status_code for _ in range(4)}

    assert statuses == {200}
