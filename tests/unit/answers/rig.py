"""What the tests of answers share: completions in vLLM's shape, and an engine whose every word is said by the test."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from tests.fakes.pouring import chunks_of

from sightline.wire.reply import Batch, Reply, Sink, Whole, hand
from sightline.wire.sse import Reader, frame

USAGE = {"prompt_tokens": 47, "total_tokens": 54, "completion_tokens": 7, "prompt_tokens_details": None, "completion_tokens_details": None}


def completion(text: str = "WK1DEG", *, finish_reason: str = "stop", **message: Any) -> bytes:
    """A whole answer as vLLM 0.32 sends it (see tests/unit/wire/recorded)."""
    nulls = {"refusal": None, "annotations": None, "audio": None, "function_call": None, "reasoning": None}
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": text} | nulls | message,
        "logprobs": None,
        "finish_reason": finish_reason,
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 7, "model": "plates", "choices": [choice], "service_tier": None}
    body |= {"system_fingerprint": "vllm-0.32.0", "usage": USAGE, "prompt_logprobs": None, "prompt_token_ids": None, "prompt_text": None}
    body |= {"kv_transfer_params": None, "ec_transfer_params": None, "metrics": None}
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def chunk(delta: dict[str, Any] | None = None, *, finish_reason: str | None = None, **more: Any) -> bytes:
    """One chunk as vLLM 0.32 streams it; without a delta the usage's."""
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 7, "model": "plates"}
    choices = [] if delta is None else [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason, "token_ids": None}]
    return json.dumps(head | {"choices": choices} | more, ensure_ascii=False, separators=(",", ":")).encode()


def chunks(text: str = "WK1DEG", *, finish_reason: str = "stop") -> list[bytes]:
    """A whole answer as vLLM streams it: its role, its text letter by letter, its end, its usage."""
    usage = {name: value for name, value in USAGE.items() if value is not None}
    return [
        chunk({"role": "assistant", "content": ""}),
        *(chunk({"content": letter}) for letter in text),
        chunk({}, finish_reason=finish_reason),
        chunk(usage=usage, system_fingerprint="vllm-0.32.0"),
    ]


class Asked:
    """One question that reached the engine: the test says what comes back. Closing it takes until `may_close` is set, which it is."""

    def __init__(self, *, stream: bool) -> None:
        self.stream = stream
        self.closed = asyncio.Event()
        self.closing = asyncio.Event()
        self.may_close = asyncio.Event()
        self.may_close.set()
        self._items: asyncio.Queue[Batch | bytes | BaseException | None] = asyncio.Queue()
        self._first: Batch | None = None

    @property
    def waiting(self) -> int:
        """What has been said and nobody has read."""
        return self._items.qsize()

    def say(self, *chunks: bytes) -> None:
        self._items.put_nowait(Reader().feed(b"".join(map(frame, chunks))))

    def answer(self, body: bytes) -> None:
        self._items.put_nowait(body)

    def fail(self, error: BaseException) -> None:
        self._items.put_nowait(error)

    def end(self) -> None:
        self._items.put_nowait(None)

    def tell(self, text: str = "WK1DEG") -> None:
        """The whole of an answer, in the mode that was asked for."""
        if not self.stream:
            return self.answer(completion(text))
        for data in chunks(text):
            self.say(data)
        return self.end()

    async def reply(self) -> Reply:
        """As the engine's client does it: returns once the answer has begun."""
        try:
            item = await self._items.get()
            if isinstance(item, BaseException):
                raise item
        except BaseException:
            await self.aclose()
            raise
        if isinstance(item, bytes):
            return Whole(item)
        self._first = item
        return self

    async def pour(self, into: Sink) -> None:
        item: object = self._first
        while isinstance(item, Batch):
            await hand(item, into)
            item = await self._items.get()
        if isinstance(item, BaseException):
            raise item

    async def aclose(self) -> None:
        self.closing.set()
        await self.may_close.wait()
        self.closed.set()


class Engine:
    """Every question asked, in order."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def call(self, *, stream: bool) -> Callable[[], Awaitable[Reply]]:
        async def ask() -> Reply:
            asked = Asked(stream=stream)
            self.asked.append(asked)
            return await asked.reply()

        return ask


class Landing:
    """Notes what is kept."""

    def __init__(self) -> None:
        self.kept: list[bytes] = []

    def __call__(self, body: bytes) -> bool:
        self.kept.append(body)
        return True


async def settle() -> None:
    """Lets everything that can run now run: nothing here waits for time, so a bounded number of turns is enough."""
    for _ in range(50):
        await asyncio.sleep(0)


async def text_of(reply: Reply) -> str:
    """What a client would read from `reply`, to its end."""
    if isinstance(reply, Whole):
        return str(json.loads(reply.body)["choices"][0]["message"]["content"])
    found = await chunks_of(reply)
    await reply.aclose()
    return text_in(found)


def text_in(found: Sequence[bytes]) -> str:
    return "".join(choice["delta"].get("content") or "" for data in found for choice in json.loads(data)["choices"])
