"""`sightline top` before a real gateway: live on a terminal, a line a look in a pipe, one snapshot with --once; and it leaves as asked."""

import fcntl
import os
import pty
import re
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator
from types import TracebackType
from typing import Self

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import COMMAND, GatewayProcess, environment, eventually
from tests.shapes import ask

TOP = (*COMMAND, "top", "--interval", "0.2")
SIZE = ("COLUMNS", "LINES")  # of another terminal; pytest-xdist sets them for its workers
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """`sightline top` on a terminal of its own, which is as large as it is told to be. `text` is what it has shown since `forget`."""

    def __init__(self, url: str, *words: str) -> None:
        self._master, slave = pty.openpty()
        self.resize(130, 40)
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *TOP, "--url", url, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={name: value for name, value in environment().items() if name not in SIZE} | {"TERM": "xterm-256color"},
        )
        os.close(slave)
        self.raw = b""
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(10)
        self._reader.join(10)
        os.close(self._master)

    @property
    def text(self) -> str:
        return ESCAPES.sub("", self.raw.decode("utf-8", "ignore"))

    def widest(self) -> int:
        """Columns of the widest line; a screen begins where the cursor goes home."""
        shown = self.raw.decode("utf-8", "ignore").replace("\x1b[H", "\n")
        return max(len(line.rstrip()) for line in ESCAPES.sub("", shown).split("\n"))

    def forget(self) -> None:
        self.raw = b""

    def shows(self, words: str, within: float = 15.0) -> None:
        eventually(lambda: words in self.text, within, f"{words!r} on the screen")

    def resize(self, columns: int, rows: int) -> None:
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def press(self, key: bytes) -> None:
        os.write(self._master, key)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:  # the other side is gone
                return
            if not data:
                return
            self.raw += data


@pytest.fixture
def later(engine: FakeEngine) -> Iterator[GatewayProcess]:
    """A gateway that is not started yet."""
    gateway = GatewayProcess(engine.url)
    yield gateway
    if hasattr(gateway, "process"):
        gateway.__exit__(None, None, None)


def test_on_a_terminal_it_follows_the_gateway(later: GatewayProcess) -> None:
    """It waits for one that is not there, shows it when it comes and what it does, says so when it goes, and Ctrl-C is status 0."""
    with Terminal(f"{later.url}/metrics") as terminal:
        terminal.shows("no answer: Connection refused")
        later.__enter__()
        terminal.shows("serving")
        body = ask()
        for _ in range(4):
            later.chat(body)
        terminal.shows("75.0% needed no engine call")
        terminal.shows(later.url)
        later.process.kill()
        terminal.shows("it is asked again)", 20)

        terminal.press(b"\x03")

        assert terminal.process.wait(10) == 0
        assert terminal.raw.startswith(b"\x1b[?1049h")
        assert b"\x1b[?1049l" in terminal.raw
        assert "Traceback" not in terminal.text


def test_it_is_drawn_anew_at_once_for_another_size(gateway: GatewayProcess) -> None:
    """Long before the next look is due."""
    with Terminal(gateway.url, "--interval", "3600") as terminal:
        terminal.shows("waiting for a second reading …")
        assert terminal.widest() > 60
        terminal.forget()
        terminal.resize(60, 20)
        terminal.shows("waiting for a second reading …")

        assert terminal.widest() <= 60
        terminal.process.send_signal(signal.SIGTERM)
        assert terminal.process.wait(10) == 0


def test_in_a_pipe_it_is_a_line_a_look(gateway: GatewayProcess) -> None:
    with subprocess.Popen([*TOP, "--url", gateway.url], env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(2)]
        process.send_signal(signal.SIGINT)

        assert process.wait(10) == 0
    for line in lines:
        assert re.match(r"\d\d:\d\d:\d\d [\d.]+ req/s · reused .* · engines 1/1 · store memory · .*\n$", line)
        assert "\x1b" not in line


def test_a_reader_that_has_seen_enough_ends_it(gateway: GatewayProcess) -> None:
    """`sightline top | head -1`: no trace."""
    with subprocess.Popen([*TOP, "--url", gateway.url], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()

        assert process.wait(10) == 0
        assert process.stderr.read() == b""


def once(url: str, *words: str) -> tuple[int, str, str]:
    ended = subprocess.run(
        [*TOP, "--once", "--url", url, *words], env=environment(), capture_output=True, text=True, timeout=20, check=False
    )
    return ended.returncode, ended.stdout, ended.stderr


def test_once_prints_one_snapshot(gateway: GatewayProcess) -> None:
    """The address may be given without scheme and path."""
    status, out, err = once(gateway.url.removeprefix("http://"))

    assert (status, err) == (0, "")
    assert out.startswith("● Sightline")
    assert f"{gateway.url}/metrics  serving" in out
    assert out.count(" Engines ") == 1
    assert "\x1b" not in out


def test_what_the_gateway_refuses_is_one_line_in_its_words(gateway: GatewayProcess) -> None:
    status, out, err = once(f"{gateway.url}/nothing")

    assert (status, out, len(err.splitlines())) == (2, "", 1)
    assert err.startswith(f"sightline: {gateway.url}/nothing: the answer was 404: There is nothing at /nothing.")


def test_a_gateway_that_is_not_there_is_one_line() -> None:
    assert once("http://127.0.0.1:1") == (2, "", "sightline: http://127.0.0.1:1/metrics: no answer: Connection refused\n")


def test_a_key_goes_with_the_question(engine: FakeEngine) -> None:
    """For a proxy in front that wants one."""
    once(f"{engine.url}/metrics", "--key", "let-me-in")

    [call] = [call for call in engine.other_calls if call.path == "/metrics"]
    assert call.headers["authorization"] == "Bearer let-me-in"
