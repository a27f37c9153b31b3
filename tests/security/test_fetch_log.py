"""A failed download is in the log with its host and its reason; a URL's path and query, where signatures stand, are nowhere."""

import logging

import pytest
from structlog.testing import capture_logs
from tests.fakes.island import PUBLIC, Island, redirect

SECRET = "c4n4ry"


def test_the_log_names_host_and_reason(island: Island) -> None:
    with capture_logs() as lines:
        island.fetch(f"http://{PUBLIC}/missing?X-Amz-Signature={SECRET}")
    assert [(line["event"], line["host"], line["reason"]) for line in lines] == [("picture_fetch.failed", PUBLIC, "status")]


@pytest.mark.parametrize("path", ["missing", "from", "broken", "a.png"])
def test_no_log_line_and_no_message_has_the_query(island: Island, caplog: pytest.LogCaptureFixture, path: str) -> None:
    caplog.set_level(logging.DEBUG)
    island.pages |= {"/from": redirect(f"http://10.0.0.1/?sig={SECRET}"), "/broken": b"SSH-2.0\r\n"}
    with capture_logs() as lines:
        outcome = island.fetch(f"http://{PUBLIC}/{path}?sig={SECRET}")
    assert SECRET not in f"{lines} {caplog.text} {outcome.message}"
