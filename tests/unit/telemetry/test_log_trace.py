"""A bug's log line says which exception it was and where it came from, and nothing that a caller sent."""

import io
import json
from collections.abc import Iterator

import pytest
import structlog

from sightline.telemetry import logs


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def break_down(sent: str) -> None:
    raise ValueError(sent)


@pytest.mark.parametrize("form", ["json", "console"])
def test_the_trace_is_told_without_the_exceptions_text(form: str) -> None:
    stream = io.StringIO()
    sink = logs.configure("info", form, stream)
    try:
        break_down("canary-4711")
    except ValueError:
        structlog.get_logger().exception("request.failed", route="/x")
    sink.close()
    line = stream.getvalue()

    assert "canary" not in line
    assert "ValueError" in line
    assert "break_down" in line
    if form == "json":
        (one,) = line.splitlines()
        assert json.loads(one)["exception"] == "ValueError"
