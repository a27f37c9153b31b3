"""What the fake engine says, in vLLM 0.32's shapes: an answer is a function of the request alone, so that a test can know it beforehand.

The text quotes the last question and names each picture by a digest of what was sent for it. It holds what breaks careless code:
characters of two to four bytes, quotes, a backslash, a newline, and U+2028, which JSON allows raw and some line splitters cut at.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Body = Mapping[str, Any]


@dataclass(frozen=True)
class Answer:
    tokens: tuple[str, ...]
    finish_reason: str
    prompt_tokens: int
    images: int
    tool: str | None = None  # the function to call with `text` as its arguments

    @property
    def text(self) -> str:
        return "".join(self.tokens)


def pictures(body: Body) -> list[str]:
    """A short digest of what each picture was sent as, in order."""
    found = [part for message in body.get("messages", ()) for part in _parts(message) if part.get("type") == "image_url"]
    return [hashlib.sha256(json.dumps(part.get("uuid") or part.get("image_url")).encode()).hexdigest()[:8] for part in found]


def names(body: Body) -> list[tuple[str | None, bool]]:
    """Each picture's uuid, and whether its bytes came with it; without them it is one that the engine should have."""
    found = [part for message in body.get("messages", ()) for part in _parts(message) if part.get("type") == "image_url"]
    return [(part.get("uuid"), bool(part.get("image_url"))) for part in found]


def question(body: Body) -> str:
    """The text of the last message."""
    messages = body.get("messages") or [{}]
    return " ".join(part["text"] for part in _parts(messages[-1]) if part.get("type") == "text")


def text_for(body: Body) -> str:
    if body.get("response_format", {}).get("type") in ("json_object", "json_schema"):
        return json.dumps({"question": question(body), "pictures": pictures(body), "colour": "grün"}, ensure_ascii=False)
    seen = ", ".join(pictures(body)) or "none"
    return f'Café 日本 🦊 "{question(body)}" \\ \u2028\npictures: {seen}. Done.'


def answer_to(body: Body, text: str | None = None, tokens: int | None = None) -> Answer:
    """`text` instead of the usual one; `tokens`: that many, repeated or cut as needed."""
    tool = _tool(body)
    if text is None:
        text = json.dumps({"question": question(body)}) if tool else text_for(body)
    words = tuple(re.findall(r"\S+\s*|\s+", text))
    if tokens is not None:
        words = tuple(words[i % len(words)] for i in range(tokens))
    limit = body.get("max_completion_tokens") or body.get("max_tokens") or len(words)
    shown = pictures(body)
    return Answer(
        tokens=words[:limit],
        finish_reason="length" if limit < len(words) else "tool_calls" if tool else "stop",
        prompt_tokens=8 + len(question(body).split()) + 32 * len(shown),
        images=len(shown),
        tool=tool,
    )


def usage(answer: Answer, n: int = 1) -> dict[str, Any]:
    prompt, completion = answer.prompt_tokens, n * len(answer.tokens)
    multimodal = {"image": 32 * answer.images} if answer.images else None
    details = {"cached_tokens": 0, "created_cache_tokens": None, "multimodal_tokens": multimodal}
    return {
        "prompt_tokens": prompt,
        "total_tokens": prompt + completion,
        "completion_tokens": completion,
        "prompt_tokens_details": details,
        "completion_tokens_details": None,
    }


def whole(body: Body, answer: Answer, id_: str, created: int) -> dict[str, Any]:
    """The JSON answer. vLLM writes every field, nulls included."""
    n = body.get("n") or 1
    return {
        "id": id_,
        "object": "chat.completion",
        "created": created,
        "model": body["model"],
        "choices": [_choice(body, answer, index, id_) for index in range(n)],
        "service_tier": None,
        "system_fingerprint": "vllm-0.32.0-fake",
        "usage": usage(answer, n),
        "prompt_logprobs": None,
        "prompt_token_ids": None,
        "prompt_text": None,
        "kv_transfer_params": None,
        "ec_transfer_params": None,
        "metrics": None,
    }


def chunks(body: Body, answer: Answer, id_: str, created: int) -> Iterator[dict[str, Any]]:
    """The streamed answer's chunks, in order: role, one a token and choice, and the usage if it was asked for."""
    head: dict[str, Any] = {"id": id_, "object": "chat.completion.chunk", "created": created, "model": body["model"]}
    n = body.get("n") or 1
    for index in range(n):
        delta = {"role": "assistant", "content": ""}
        yield head | {"choices": [{"index": index, "delta": delta, "logprobs": None, "finish_reason": None}]}
    last = len(answer.tokens) - 1
    for position, token in enumerate(answer.tokens):
        for index in range(n):
            choice: dict[str, Any] = {
                "index": index,
                "delta": _delta(answer, position, token, id_),
                "logprobs": None,
                "finish_reason": None,
            }
            if body.get("logprobs"):
                choice["logprobs"] = logprobs([token])
            if position == last:
                choice |= {"finish_reason": answer.finish_reason, "stop_reason": None}
            yield head | {"choices": [choice]}
    if (body.get("stream_options") or {}).get("include_usage"):
        yield head | {"choices": [], "usage": usage(answer, n), "system_fingerprint": "vllm-0.32.0-fake"}


def logprobs(tokens: Sequence[str]) -> dict[str, Any]:
    return {"content": [{"token": token, "logprob": -0.25, "bytes": list(token.encode()), "top_logprobs": []} for token in tokens]}


def card(name: str) -> dict[str, Any]:
    """An entry of `/v1/models`."""
    head: dict[str, Any] = {"id": name, "object": "model", "created": 1_760_000_000, "owned_by": "vllm", "root": name, "parent": None}
    return head | {"max_model_len": 2048, "permission": []}


def error(message: str, type_: str, code: int, param: str | None = None) -> dict[str, Any]:
    """An error in vLLM's shape; its `code` is the HTTP status, a number."""
    return {"error": {"message": message, "type": type_, "param": param, "code": code}}


def _choice(body: Body, answer: Answer, index: int, id_: str) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": answer.text, "refusal": None, "annotations": None, "audio": None}
    message |= {"function_call": None, "reasoning": None}
    if answer.tool:
        message["content"] = None
        message["tool_calls"] = [{"id": f"call-{id_}", "type": "function", "function": {"name": answer.tool, "arguments": answer.text}}]
    return {
        "index": index,
        "message": message,
        "logprobs": logprobs(answer.tokens) if body.get("logprobs") else None,
        "finish_reason": answer.finish_reason,
        "stop_reason": None,
        "token_ids": None,
        "routed_experts": None,
    }


def _delta(answer: Answer, position: int, token: str, id_: str) -> dict[str, Any]:
    if not answer.tool:
        return {"content": token}
    call: dict[str, Any] = {"index": 0, "function": {"arguments": token}}
    if position == 0:
        call = {"id": f"call-{id_}", "type": "function", "index": 0, "function": {"name": answer.tool, "arguments": token}}
    return {"tool_calls": [call]}


def _parts(message: Mapping[str, Any]) -> list[dict[str, Any]]:
    content = message.get("content") or []
    return [{"type": "text", "text": content}] if isinstance(content, str) else [part for part in content if isinstance(part, dict)]


def _tool(body: Body) -> str | None:
    """The first tool, unless the caller wants none called. (A real engine would let the model choose.)"""
    if not body.get("tools") or body.get("tool_choice") == "none":
        return None
    name: str = body["tools"][0]["function"]["name"]
    return name
