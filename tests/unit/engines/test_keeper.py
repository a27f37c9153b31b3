"""Nothing of a kept command outlives it, its keeper's orders, or whoever holds the keeper's standard input."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

TREE = Path(__file__).with_name("tree.py")
Start = Callable[..., tuple[subprocess.Popen[bytes], list[int]]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts a keeper (holding its standard input) with a tree of three below it: the keeper, and the three pids."""
    with ExitStack() as stack:

        def begin(*words: str, grace: float = 5) -> tuple[subprocess.Popen[bytes], list[int]]:
            report = tmp_path / "pids"
            command = [sys.executable, "-m", "sightline.engines.keeper", str(grace), sys.executable, str(TREE), str(report), *words]
            keeper = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True))
            stack.callback(keeper.kill)
            assert comes_true(report.exists), "the tree did not start"
            return keeper, [int(pid) for pid in report.read_text().split()]

        yield begin


def comes_true(condition: Callable[[], bool], seconds: float = 15) -> bool:
    limit = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > limit:
            return False
        time.sleep(0.01)
    return True


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def all_gone(pids: list[int]) -> bool:
    return comes_true(lambda: not any(alive(pid) for pid in pids))


def test_told_to_stop(start: Start) -> None:
    """SIGTERM ends the command and its orphans; the status is the command's."""
    keeper, pids = start()

    keeper.send_signal(signal.SIGTERM)

    assert keeper.wait(15) == 128 + signal.SIGTERM
    assert all_gone(pids)


def test_stubborn(start: Start) -> None:
    """Those that do not heed SIGTERM are killed when the grace is over."""
    keeper, pids = start("stubborn", grace=0.3)

    keeper.send_signal(signal.SIGTERM)

    assert keeper.wait(15) == 128 + signal.SIGKILL
    assert all_gone(pids)


def test_told_twice(start: Start) -> None:
    """A second SIGTERM does not wait for the grace."""
    keeper, pids = start("stubborn", grace=600)

    keeper.send_signal(signal.SIGTERM)
    while keeper.poll() is None and any(alive(pid) for pid in pids):
        keeper.send_signal(signal.SIGTERM)
        time.sleep(0.05)

    assert keeper.wait(15) == 128 + signal.SIGKILL
    assert all_gone(pids)


def test_command_killed(start: Start) -> None:
    """A kill -9 of the command: its children, now orphans, go too, and the keeper says how it ended."""
    keeper, pids = start("stubborn")

    os.kill(pids[0], signal.SIGKILL)

    assert keeper.wait(15) == 128 + signal.SIGKILL
    assert all_gone(pids)


def test_owner_gone(start: Start) -> None:
    """The kernel closes a dead owner's end of the keeper's standard input: that ends everything."""
    keeper, pids = start()
    assert keeper.stdin is not None

    keeper.stdin.close()

    keeper.wait(15)
    assert all_gone(pids)


def test_keeper_killed(start: Start) -> None:
    """A kill -9 of the keeper itself takes its command along; the rest is ended by its owner (`Kept`)."""
    keeper, pids = start()

    keeper.kill()

    keeper.wait(15)
    assert all_gone(pids[:1])
    for pid in pids[1:]:
        os.kill(pid, signal.SIGKILL)


def test_status(start: Start) -> None:
    """A command that ends by itself ends the keeper, with its status."""
    command = [sys.executable, "-m", "sightline.engines.keeper", "1", sys.executable, "-c", "raise SystemExit(7)"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as keeper:
        assert keeper.wait(15) == 7
