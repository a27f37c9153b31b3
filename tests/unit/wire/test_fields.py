"""The table of accepted names is OpenAI's, vLLM's and ours, and none of them is one that we refuse."""

import pytest
from openai.types.chat.completion_create_params import CompletionCreateParamsBase

from sightline.wire import fields


def test_every_parameter_that_openai_documents_is_accepted() -> None:
    assert set(CompletionCreateParamsBase.__annotations__) <= fields.ACCEPTED


def test_no_name_is_both_accepted_and_refused() -> None:
    assert [name for name in fields.ACCEPTED if fields.is_refused(name)] == []


@pytest.mark.parametrize(
    ("name", "nearest"), [("temprature", "temperature"), ("maxtokens", "max_tokens"), ("tool", "tools"), ("top-p", "top_p")]
)
def test_a_misspelt_name_is_told_the_nearest_right_one(name: str, nearest: str) -> None:
    assert f"Did you mean {nearest!r}?" in fields.why_not(name, fields.ACCEPTED)
