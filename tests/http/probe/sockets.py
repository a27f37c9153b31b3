"""The `sightline` command, with a thread beside it that tells on SIGUSR1 which TCP connections the process has and how they are set.

Only the process itself can ask the kernel for its sockets' options; the thread touches nothing of the gateway's.
"""

import contextlib
import json
import os
import signal
import socket
import sys
import threading

from sightline.cli.main import main


def connections() -> list[dict[str, int]]:
    found = []
    for fd in os.listdir("/proc/self/fd"):  # noqa: PTH208  Path.iterdir would hold one open of its own
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(fd))) as connection:
            nodelay = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            found.append({"here": connection.getsockname()[1], "there": connection.getpeername()[1], "nodelay": nodelay})
    return found


def tell() -> None:
    while True:
        signal.sigwait({signal.SIGUSR1})
        os.write(sys.stderr.fileno(), (json.dumps({"event": "probe.connections", "connections": connections()}) + "\n").encode())


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    threading.Thread(target=tell, daemon=True).start()
    main()
