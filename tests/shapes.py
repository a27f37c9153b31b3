"""What requests look like that tests send, and how errors and streams look that come back."""

import base64
import io
import itertools
import json
from typing import Any, Protocol

import httpx
from PIL import Image
from tests.serving import Raw

MODEL = "fake-vl"
_number = itertools.count(1)


def question() -> str:
    """One that has not been asked before."""
    return f"question {next(_number)}?"


def ask(text: str | None = None, *, pictures: tuple[str, ...] = (), **fields: Any) -> dict[str, Any]:
    """A request body; `pictures` are URLs."""
    content: Any = text or question()
    if pictures:
        content = [*({"type": "image_url", "image_url": {"url": url}} for url in pictures), {"type": "text", "text": content}]
    return {"model": MODEL, "messages": [{"role": "user", "content": content}]} | fields


def picture(width: int = 32, height: int = 16, colour: str = "red", form: str = "PNG") -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height), colour).save(file, form)
    return file.getvalue()


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    return f"data:{media_type};base64,{base64.b64encode(content).decode()}"


def head(length: int | None, *lines: str, path: str = "/v1/chat/completions", host: bool = True) -> bytes:
    """A POST's head as bytes, for tests that write on the wire themselves."""
    given = [f"POST {path} HTTP/1.1", *(["Host: gateway"] if host else []), "Content-Type: application/json", *lines]
    if length is not None:
        given.append(f"Content-Length: {length}")
    return "\r\n".join([*given, "", ""]).encode("latin-1")


def post(data: bytes, *lines: str) -> bytes:
    """A whole POST as bytes."""
    return head(len(data), *lines) + data


class Answered(Protocol):
    @property
    def headers(self) -> Any: ...


def refusal(response: httpx.Response | Raw, status: int, code: str, type_: str = "invalid_request_error") -> dict[str, Any]:
    """The error of a refusal, after a look at its shape."""
    body = json.loads(response.body if isinstance(response, Raw) else response.content)
    found = response.status if isinstance(response, Raw) else response.status_code
    assert (found, body["error"]["code"], body["error"]["type"]) == (status, code, type_), body
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert response.headers["content-type"] == "application/json"
    assert response.headers["x-request-id"]
    assert ("retry-after" in response.headers) == (status in {429, 503})
    error: dict[str, Any] = body["error"]
    return error


def events(response: httpx.Response) -> list[str]:
    """The payloads of an event stream in its one form: `data: ` and a blank line."""
    assert response.headers["content-type"] == "text/event-stream; charset=utf-8", response.text
    *blocks, rest = response.content.decode().split("\n\n")
    assert rest == ""
    assert all(block.startswith("data: ") and "\n" not in block for block in blocks)
    return [block.removeprefix("data: ") for block in blocks]


def chunks(response: httpx.Response) -> list[dict[str, Any]]:
    """The chunks of a stream that came to its proper end."""
    *payloads, done = events(response)
    assert done == "[DONE]"
    return [json.loads(payload) for payload in payloads]


def text_of(found: list[dict[str, Any]]) -> str:
    return "".join(choice["delta"].get("content") or "" for chunk in found for choice in chunk["choices"])
