"""Words that requests may not contain, and personal data that answers may not show: by key, whole, streamed and kept."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.fakes import answer
from tests.fakes.engine import FakeEngine, Script
from tests.keyring import KeyRing, bearer
from tests.serving import GatewayProcess, environment, ready
from tests.shapes import ask, chunks, refusal, text_of

PERSONAL = "Call 13800138000 or write to li.wei@example.com, order 20240117."
MASKED = "Call [phone] or write to [email], order 20240117."


class Guarded(NamedTuple):
    gateway: GatewayProcess
    strict: dict[str, str]
    plain: dict[str, str]


@pytest.fixture
def guarded(tmp_path: Path, engine: FakeEngine) -> Iterator[Guarded]:
    words = tmp_path / "words.txt"
    words.write_text("# one a line\nforbidden phrase\n违禁词\n", encoding="utf-8")
    keys = KeyRing(tmp_path / "keys.yaml")
    strict = keys.new(safety={"words": True, "mask": ["phone", "email"]})
    plain = keys.new()
    engine.script = Script(text=PERSONAL)
    with GatewayProcess(engine.url, environ=environment(keys_file=keys.file, safety__words_file=words)) as gateway:
        yield Guarded(ready(gateway), bearer(strict), bearer(plain))


@pytest.mark.parametrize("text", ["a Forbidden phrase", "这里有违禁词吗", "ｆｏｒｂｉｄｄｅｎ phrase"])
def test_a_word_of_the_list_is_refused_for_good(guarded: Guarded, engine: FakeEngine, text: str) -> None:
    answer = guarded.gateway.chat(ask(text), headers=guarded.strict)

    refusal(answer, 400, "content_policy_violation")
    assert answer.headers["x-should-retry"] == "false"
    assert engine.calls == []


def test_another_key_may_say_them(guarded: Guarded) -> None:
    assert guarded.gateway.chat(ask("a forbidden phrase"), headers=guarded.plain).status_code == 200


def told(guarded: Guarded, headers: dict[str, str], **fields: Any) -> tuple[str, str]:
    answer = guarded.gateway.chat(ask("who?", **fields), headers=headers)
    text = text_of(chunks(answer)) if "stream" in fields else answer.json()["choices"][0]["message"]["content"]
    return answer.headers["x-cache"], text


@pytest.mark.parametrize("first", [{}, {"stream": True}], ids=["whole", "streamed"])
def test_answers_are_masked_in_either_form_and_kept_as_they_were(guarded: Guarded, first: dict[str, Any]) -> None:
    assert told(guarded, guarded.strict, **first) == ("MISS", MASKED)
    assert told(guarded, guarded.strict) == ("HIT", MASKED)
    assert told(guarded, guarded.strict, stream=True) == ("HIT", MASKED)
    assert told(guarded, guarded.plain) == ("HIT", PERSONAL)
    assert told(guarded, guarded.plain, stream=True) == ("HIT", PERSONAL)


def test_a_stream_that_cannot_be_masked_from_its_start_is_a_502(guarded: Guarded, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing has been sent by then: it is a status and not an event."""
    usual = answer.chunks

    def odd(*args: Any) -> Iterator[dict[str, Any]]:
        first, *rest = usual(*args)
        first["choices"][0]["delta"]["content"] = [{"type": "text", "text": PERSONAL}]
        return iter([first, *rest])

    monkeypatch.setattr(answer, "chunks", odd)
    refused = guarded.gateway.chat(ask("who?", stream=True), headers=guarded.strict)

    refusal(refused, 502, "engine_error", "server_error")
    assert "13800138000" not in refused.text
