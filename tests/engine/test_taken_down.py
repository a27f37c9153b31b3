"""`sightline up` killed with SIGKILL in the middle of vLLM's start leaves no process behind: nobody asked anyone to stop."""

import subprocess
import sys

from tests.real_engine import START, alive, words
from tests.serving import eventually, free_port

from sightline.engines import processes


def test_killed_without_warning(installed: None) -> None:
    """Keeper, API server, EngineCore: all gone soon after whoever started them, though nothing could be said to them."""
    command = [sys.executable, "-m", "sightline", "up", "--cpu", "--port", str(free_port())]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as up:
        try:
            eventually(lambda: engine_core_below(up.pid) or up.poll() is not None, START, "vLLM's EngineCore")
            tree = processes.below(up.pid)
            names = [words(pid)[0] for pid in tree]
        finally:
            up.kill()

    assert any("EngineCore" in name for name in names), names
    eventually(lambda: not alive(tree), 20, "the end of all its processes")


def engine_core_below(pid: int) -> bool:
    return any("EngineCore" in words(process)[0] for process in processes.below(pid))
