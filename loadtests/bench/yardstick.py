"""A fixed piece of work, over and over, that says after each batch how many units it has done and what CPU time they took.

    python yardstick.py

It runs beside whatever is measured, on the same core at the same time, so that a slow or busy machine slows both alike: a request's CPU
time divided by a unit's travels between machines, where microseconds do not. A unit is a bit of what a gateway does: Python, JSON, a hash
of 100 kB, 16 kB through a socket. It uses nothing of ours, so that no change of ours changes it.
"""

import hashlib
import json
import socket
import sys
import time

LETTER = {"model": "any", "messages": [{"role": "user", "content": [{"type": "text", "text": f"question {n}"} for n in range(8)]}]}
BLOB = bytes(range(256)) * 400
BATCH = 50  # units between two lines: some 20 ms


def unit(near: socket.socket, far: socket.socket) -> int:
    text, total = json.dumps(LETTER), 0
    for _ in range(3):
        total += sum(len(part["text"]) for part in json.loads(text)["messages"][0]["content"])
    total += sum(number * number % 7 for number in range(400))
    total += sum({f"key {number}": number for number in range(100)}.values())
    near.sendall(BLOB[:16384])
    left = 16384
    while left:
        left -= len(far.recv(65536))
    return total + hashlib.blake2b(BLOB, key=b"yardstick").digest()[0]


def main() -> None:
    near, far = socket.socketpair()
    done = 0
    while True:
        for _ in range(BATCH):
            unit(near, far)
        done += BATCH
        sys.stdout.write(f"{done} {time.process_time_ns()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
