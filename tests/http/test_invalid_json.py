"""A body that is not strict JSON is refused with `invalid_json` before anything is made of it, and the process stays well."""

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess
from tests.shapes import refusal

BODIES = {
    "empty": b"",
    "not JSON": b"hello",
    "an array": b"[]",
    "a string": b'"model"',
    "null": b"null",
    "truncated": b'{"model": "fake-vl", "messages": [',
    "trailing": b'{"model": "fake-vl"} {}',
    "trailing comma": b'{"model": "fake-vl",}',
    "single quotes": b"{'model': 'fake-vl'}",
    "comment": b'{"model": "fake-vl" /* no */}',
    "NaN": b'{"model": "fake-vl", "messages": [{"role": "user", "content": "x"}], "temperature": NaN}',
    "Infinity": b'{"model": "fake-vl", "messages": [{"role": "user", "content": "x"}], "temperature": -Infinity}',
    "1e999": b'{"model": "fake-vl", "messages": [{"role": "user", "content": "x"}], "temperature": 1e999}',
    "lone high surrogate": b'{"model": "fake-vl", "messages": [{"role": "user", "content": "\\ud800"}]}',
    "lone low surrogate": b'{"model": "fake-vl", "messages": [{"role": "user", "content": "\\udc00 x"}]}',
    "not UTF-8": b'{"model": "fake-vl", "messages": [{"role": "user", "content": "\xff"}]}',
    "UTF-16": '{"model": "fake-vl"}'.encode("utf-16"),
    "raw control character": b'{"model": "fake-vl", "messages": [{"role": "user", "content": "\x01"}]}',
    "100 000 open brackets": b"[" * 100_000,
    "100 000 brackets": b"[" * 100_000 + b"]" * 100_000,
    "100 000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "65 levels": b'{"model": "fake-vl", "messages": [], "metadata": ' + b"[" * 64 + b"]" * 64 + b"}",
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_what_is_not_strict_json_is_refused(gateway: GatewayProcess, engine: FakeEngine, body: bytes) -> None:
    response = gateway.client.post("/v1/chat/completions", content=body, headers={"content-type": "application/json"})

    refusal(response, 400, "invalid_json")
    assert engine.calls == []
