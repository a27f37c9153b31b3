"""The demo model's picture tokens by our formula are those that vLLM counts in `prompt_tokens`."""

import base64
from typing import Any

import httpx
import pytest
from loadtests.pictures.samples import encode, photo

from sightline.pictures.tokens import DEMO, image_tokens

# Below, within and above the processor's limits, in both directions, square and narrow.
SIZES = [(56, 56), (100, 300), (224, 112), (336, 336), (500, 380), (640, 480), (1024, 768), (768, 1024), (1024, 200)]


def prompt_tokens(engine: Any, size: tuple[int, int]) -> int:
    picture = base64.b64encode(encode(photo(*size), "PNG")).decode()
    content = [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}}, {"type": "text", "text": "What is it?"}]
    body = {"model": "sightline-demo", "messages": [{"role": "user", "content": content}], "max_tokens": 1, "temperature": 0}
    headers = {"authorization": f"Bearer {engine.key}"}
    answer = httpx.post(f"{engine.url}/v1/chat/completions", json=body, headers=headers, timeout=60)
    assert answer.status_code == 200, answer.text
    counted: int = answer.json()["usage"]["prompt_tokens"]
    return counted


@pytest.mark.engine
@pytest.mark.parametrize("size", SIZES, ids=str)
def test_as_vllm_counts(engine: Any, size: tuple[int, int]) -> None:
    """Beyond what the same question costs with another picture: the text and the markers are the same."""
    measure = (224, 224)
    expected = image_tokens(DEMO, *size) - image_tokens(DEMO, *measure)
    assert expected == prompt_tokens(engine, size) - prompt_tokens(engine, measure)
