"""What somebody asks, and what should come back: a scenario makes these, and knows neither Locust nor sockets."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Ask:
    """One request. `name` is its row in the report; `refusal` the status and code that are due instead of an answer."""

    name: str
    body: bytes
    stream: bool = False
    leave_after: int | None = None  # pieces of the answer after which the client goes away
    schema: bool = False  # the answer should be JSON, as the request's schema says
    refusal: tuple[int, str] | None = None


class Scenario(Protocol):
    def ask(self) -> Ask:
        """The next request."""

    def heard(self, text: str) -> None:
        """The answer to it; not called when none came."""


def seen(uri: str, question: str, *, detail: str | None = None) -> Message:
    """A user's message: a picture, then a question about it (the order in which engines reuse what they made of the picture)."""
    image = {"url": uri} if detail is None else {"url": uri, "detail": detail}
    return {"role": "user", "content": [{"type": "image_url", "image_url": image}, {"type": "text", "text": question}]}


def said(text: str, *, by: str = "user") -> Message:
    return {"role": by, "content": text}


def chat(model: str, messages: Sequence[Message], *, max_tokens: int, **fields: object) -> bytes:
    return json.dumps({"model": model, "messages": messages, "max_tokens": max_tokens, "temperature": 0, **fields}).encode()
