"""A harmless stand-in for vLLM's processes: `python tree.py REPORT [stubborn]` starts a child that starts a grandchild, in sessions of
their own, writes all three pids to REPORT and waits. Stubborn ones do not heed SIGTERM.
"""

import os
import signal
import sys
import time
from pathlib import Path


def main(report: Path, *, stubborn: bool) -> None:
    if stubborn:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    pids = [os.getpid()]
    for _ in range(2):
        if os.fork():
            break
        os.setsid()
        pids.append(os.getpid())
    if len(pids) == 3:
        report.with_suffix(".new").write_text(" ".join(map(str, pids)))
        report.with_suffix(".new").rename(report)
    time.sleep(60)


main(Path(sys.argv[1]), stubborn="stubborn" in sys.argv)
