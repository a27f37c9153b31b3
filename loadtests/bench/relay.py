"""The least that an ASGI service can do in front of an engine: a bare relay, written for comparison.

    python relay.py PORT ENGINE_URL

uvicorn, uvloop and httptools on one side, aiohttp on the other, malloc told to keep its memory as `sightline serve` tells it. The body goes
on as it came and the answer comes back as it comes, a stream chunk by chunk; nothing is parsed, kept, checked, counted or logged.
"""

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import aiohttp
import uvicorn

Message = MutableMapping[str, Any]
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "server", "date"}


class Relay:
    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        if scope["type"] != "http":
            raise NotImplementedError  # so that uvicorn goes on without a lifespan
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=60)
            self._session = aiohttp.ClientSession(connector=connector, auto_decompress=False)
        pieces, more = [], True
        while more:
            message = await receive()
            pieces.append(message.get("body", b""))
            more = message.get("more_body", False)
        body = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        headers = {"Content-Type": "application/json"}
        async with self._session.request(scope["method"], self._engine + scope["path"], data=body or None, headers=headers) as answer:
            kept = [(name.lower().encode(), value.encode()) for name, value in answer.headers.items() if name.lower() not in HOP]
            length = answer.content_length
            if length is not None:
                kept.append((b"content-length", b"%d" % length))
            await send({"type": "http.response.start", "status": answer.status, "headers": kept})
            if length is not None:
                await send({"type": "http.response.body", "body": await answer.read()})
                return
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})


if __name__ == "__main__":
    uvicorn.run(
        Relay(sys.argv[2]), host="127.0.0.1", port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", access_log=False,
        log_level="warning", server_header=False, date_header=False, timeout_keep_alive=600,
    )  # fmt: skip
