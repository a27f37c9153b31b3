"""An engine as vLLM is under load: so many answers at once, the others wait their turn within it, each takes as long as it is told to.

    python loadtests/limits/scripted.py --places 32 --seconds 0.4

It prints its URL. `POST /seconds/1.5` changes how long an answer takes; `GET /state` says how many are being answered and how many wait.
"""

import argparse
import asyncio
import json
import random
import sys
from dataclasses import dataclass

MODELS = json.dumps({"object": "list", "data": [{"id": "scripted", "object": "model", "created": 1, "owned_by": "us"}]}).encode()
ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "scripted",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 10, "completion_tokens": 2, "total_tokens": 12},
    }
).encode()


@dataclass
class Engine:
    places: asyncio.Semaphore
    seconds: float
    jitter: float
    answering: int = 0
    waiting: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
                await reader.readexactly(length)
                body = await self.answer(head.split(b" ", 2)[1].decode())
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async def answer(self, path: str) -> bytes:
        if path.startswith("/seconds/"):
            self.seconds = float(path.rpartition("/")[2])
        if path == "/v1/models":
            return MODELS
        if path != "/v1/chat/completions":
            return json.dumps({"answering": self.answering, "waiting": self.waiting}).encode()
        self.waiting += 1
        async with self.places:
            self.waiting -= 1
            self.answering += 1
            await asyncio.sleep(self.seconds * random.uniform(1 - self.jitter, 1 + self.jitter))
            self.answering -= 1
        return ANSWER


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--places", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=0.4)
    parser.add_argument("--jitter", type=float, default=0.1)
    wanted = parser.parse_args()
    engine = Engine(asyncio.Semaphore(wanted.places), wanted.seconds, wanted.jitter)
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0, backlog=2048)
    host, port = server.sockets[0].getsockname()
    sys.stdout.write(f"http://{host}:{port}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main())
