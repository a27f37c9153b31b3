"""What real vLLM 0.32 streamed, folded, is what it sent unstreamed to the same question with the same seed: byte for byte.

Three differences are known, each the engine's own: tool calls get random ids; beside a tool call an unstreamed answer may have null for
its content where the stream says ""; and a stream's usage leaves out `multimodal_tokens` where it is null.
"""

import json
from pathlib import Path

import pytest

from sightline.wire.folding import expand, fold, is_whole, restamp
from sightline.wire.reply import Batch
from sightline.wire.sse import batch_of, frame

RECORDED = Path(__file__).with_name("recorded")
NAMES = sorted(path.name.removesuffix(".json.txt") for path in RECORDED.glob("*.json.txt"))
EXACT = {"plain", "seeded", "stop", "length", "schema", "tools_auto"}


def streamed(name: str) -> list[bytes]:
    lines = (RECORDED / f"{name}.stream.txt").read_bytes().split(b"\n\n")
    return [line.removeprefix(b"data: ") for line in lines if line.strip() and line != b"data: [DONE]"]


def unstreamed(name: str) -> bytes:
    return (RECORDED / f"{name}.json.txt").read_bytes().strip()


def test_there_are_recordings() -> None:
    assert len(NAMES) == 11


@pytest.mark.parametrize("name", NAMES)
def test_folded_as_vllm_itself_would_have(name: str) -> None:
    folded = fold(streamed(name))
    assert folded is not None
    ours, theirs = (restamp(body, id="x", created=1) for body in (folded, unstreamed(name)))
    if name in EXACT:
        assert ours == theirs
    else:
        assert known_differences_aside(ours) == known_differences_aside(theirs)


@pytest.mark.parametrize("name", NAMES)
def test_an_unstreamed_answer_survives_being_streamed(name: str) -> None:
    """`fold(expand(c)) == c`, to the byte, for all that vLLM sent."""
    answer = unstreamed(name)
    chunks = expand(answer, id="x", created=1)
    assert fold(chunks) == restamp(answer, id="x", created=1)
    said = [frame(chunk) for chunk in chunks]
    assert batch_of(*chunks[:-1], usage=chunks[-1]) == Batch(b"".join(said), b"".join(said[:-1]), chunks[-1])


@pytest.mark.parametrize("name", NAMES)
def test_only_what_ended_of_itself_is_whole(name: str) -> None:
    """An answer that ran into `max_tokens` is not (`length`, and `unicode`, whose text was cut off)."""
    assert is_whole(unstreamed(name)) == (name not in {"length", "unicode"})


def known_differences_aside(answer: bytes) -> object:
    body = json.loads(answer)
    message = body["choices"][0]["message"]
    for call in message.get("tool_calls", ()):
        call["id"] = "random"
    message["content"] = message["content"] or None
    details = body["usage"]["prompt_tokens_details"]
    details["multimodal_tokens"] = details.get("multimodal_tokens")
    return body
