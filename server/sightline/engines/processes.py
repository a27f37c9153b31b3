"""The tree of processes below one of ours, read from /proc: who is in it, and how much memory it has taken."""

import contextlib
import os
import signal
from collections.abc import Iterable, Mapping
from pathlib import Path

PROC = Path("/proc")


def parents() -> dict[int, int]:
    """Each process's parent, for all that live (zombies are not counted: they are only waiting to be reaped)."""
    found = {}
    for entry in PROC.iterdir():
        if not entry.name.isdigit():
            continue
        try:
            # The name stands in brackets and may hold anything, so the fields are counted from its end: state, then parent.
            state, parent = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[:2]
        except (OSError, ValueError):
            continue
        if state not in "ZX":
            found[int(entry.name)] = int(parent)
    return found


def descendants(root: int, parent_of: Mapping[int, int]) -> list[int]:
    """All below `root`, children before their children, without `root` itself."""
    children: dict[int, list[int]] = {}
    for process, parent in parent_of.items():
        children.setdefault(parent, []).append(process)
    found = list(children.get(root, ()))
    for process in found:
        found += children.get(process, ())
    return found


def below(root: int) -> list[int]:
    return descendants(root, parents())


def end(processes: Iterable[int], with_signal: signal.Signals) -> None:
    for process in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, with_signal)


def peak_memory(root: int) -> int:
    """The sum, in bytes, of the most memory that `root` and each process below it have held."""
    return sum(_peak(process) for process in (root, *below(root)))


def _peak(process: int) -> int:
    with contextlib.suppress(OSError):
        for line in (PROC / str(process) / "status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0
