"""The scanner finds what a file names wrongly, and leaves alone what is right: otherwise the tests that use it would hold nothing."""

from collections.abc import Callable

import pytest
from tests.deploy.names import unknown_commands, unknown_environment, unknown_metrics, unknown_routes

Scanner = Callable[[str], list[str]]

WRONG: dict[str, tuple[Scanner, str, list[str]]] = {
    "a variable": (unknown_environment, "ENV SIGHTLINE_PORT=8080 SIGHTLINE_CACHE__TLL=5", ["SIGHTLINE_CACHE__TLL"]),
    "a variable in YAML": (unknown_environment, "- name: SIGHTLINE_ENGINE\n", ["SIGHTLINE_ENGINE"]),
    "a path": (unknown_routes, "path: /health/alive\n", ["/health/alive"]),
    "a path in a URL": (unknown_routes, "httpGet: {path: /v2}, /v1/chats", ["/v1/chats"]),
    "a metric": (unknown_metrics, "rate(sightline_requests[5m])", ["sightline_requests"]),
    "a counter as a histogram": (unknown_metrics, "sightline_requests_total_bucket{}", ["sightline_requests_total_bucket"]),
    "a command": (unknown_commands, "run `sightline start` first", ["sightline start"]),
    "a flag": (unknown_commands, "sightline serve --engines http://x:1 --port 8080", ["sightline serve --engines"]),
    "a flag below a group": (unknown_commands, "  sightline engine run --cpu --threads 2", ["sightline engine run --threads"]),
    "a flag on the next line": (unknown_commands, "sightline serve --engine http://x:1 \\\n  --prot 1", ["sightline serve --prot"]),
    "in an array": (unknown_commands, 'CMD ["sightline", "serve", "--hots", "::"]', ["sightline serve --hots"]),
}


@pytest.mark.parametrize(("scan", "text", "found"), WRONG.values(), ids=WRONG.keys())
def test_what_the_code_does_not_have_is_found(scan: Scanner, text: str, found: list[str]) -> None:
    assert scan(text) == found


RIGHT: dict[str, tuple[Scanner, str]] = {
    "settings, their files, and what is no setting": (
        unknown_environment,
        "SIGHTLINE_TIMEOUTS__DRAIN SIGHTLINE_STORE_FILE SIGHTLINE_LIMITS__KEY__TOKENS_PER_DAY SIGHTLINE_HOME",
    ),
    "routes": (unknown_routes, "/health/live /v1/chat/completions, /v1/cache/images/* http://x:1/v1/models /metrics. /etc/v1.conf"),
    "metrics": (unknown_metrics, "sightline_overhead_seconds_bucket sightline_engine_up sightline_tokens_total"),
    "commands": (
        unknown_commands,
        "sightline up --model M -- --max-model-len 9\n`sightline keys new --tenant acme --file f`\nsightline engine install --cpu",
    ),
    "words that only look like commands": (unknown_commands, "sightline-engine.service, sightline.env and Sightline itself"),
}


@pytest.mark.parametrize(("scan", "text"), RIGHT.values(), ids=RIGHT.keys())
def test_what_it_has_is_left_alone(scan: Scanner, text: str) -> None:
    assert scan(text) == []
