"""Runs a command and leaves nothing of it behind: `python -m sightline.engines.keeper GRACE COMMAND…`.

vLLM's `EngineCore` and `Worker` outlive an API server that is killed, and everything would outlive a `sightline up` that is killed.
So a keeper stands between. It ends all that lives below it when the command ends (for whatever reason), on SIGTERM or SIGINT, or when
its standard input closes, which the kernel does for whoever holds the other end, however that one dies. As a subreaper (prctl(2)) it
inherits the orphans of the processes below it, so that nothing leaves its tree.

Ended gently: SIGTERM to the command, GRACE seconds, then SIGKILL to all. A second SIGTERM or SIGINT skips the rest of the grace. It
exits with the command's status (128 + n for signal n).
"""

import contextlib
import ctypes
import os
import selectors
import signal
import subprocess
import sys
import time
from types import FrameType

from sightline.engines import processes

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_ORPHANS_GRACE = 2.0  # seconds for what is left once the command itself has ended
_TICK = 0.05


class Keeper:
    def __init__(self, command: list[str], grace: float) -> None:
        self._grace = grace
        self._status: int | None = None
        self._asked = 0  # how often we were told to stop
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self._bell, ring = os.pipe()
        os.set_blocking(self._bell, False)
        os.set_blocking(ring, False)
        signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        signal.signal(signal.SIGCHLD, lambda *_: None)  # only rings the bell
        self._child = subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=self._die_with_us)  # noqa: S603, PLW1509 - single-threaded

    def run(self) -> int:
        try:
            self._wait()
            self._end_command()
        finally:
            self._end_rest()
        return self._status if self._status is not None else 128 + signal.SIGKILL

    def _die_with_us(self) -> None:
        """Between fork and exec: should the keeper itself be killed, its command goes too (and our parent ends the group)."""
        self._libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        self._asked += 1

    def _wait(self) -> None:
        """Until the command has ended or we are to stop."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._bell, selectors.EVENT_READ)
            selector.register(sys.stdin, selectors.EVENT_READ)
            while self._status is None and not self._asked:
                for key, _ in selector.select():
                    if key.fd == self._bell:
                        with contextlib.suppress(BlockingIOError):
                            os.read(self._bell, 512)
                    elif not os.read(key.fd, 512):
                        return
                self._reap()

    def _end_command(self) -> None:
        if self._status is None:
            processes.end([self._child.pid], signal.SIGTERM)
            asked, limit = self._asked, time.monotonic() + self._grace
            while self._status is None and self._asked <= max(asked, 1) and time.monotonic() < limit:
                time.sleep(_TICK)
                self._reap()

    def _end_rest(self) -> None:
        limit = time.monotonic() + (_ORPHANS_GRACE if self._status is not None else 0)
        processes.end(processes.below(os.getpid()), signal.SIGTERM)
        while left := processes.below(os.getpid()):
            if time.monotonic() >= limit:
                processes.end(left, signal.SIGKILL)
            time.sleep(_TICK)
            self._reap()
        self._reap()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                process, status = os.waitpid(-1, os.WNOHANG)
                if process == 0:
                    return
                if process == self._child.pid:
                    code = os.waitstatus_to_exitcode(status)
                    self._status = code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(Keeper(sys.argv[2:], float(sys.argv[1])).run())
