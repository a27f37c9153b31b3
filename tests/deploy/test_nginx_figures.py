"""The figures of gateway.conf fit the gateway's own: each is on the right side of the setting that it must agree with."""

import re

from tests.deploy.names import unknown_environment, unknown_routes
from tests.deploy.proxy import SOURCE

from sightline.settings import Settings

TEXT = (SOURCE / "gateway.conf").read_text(encoding="utf-8")
UNITS = {"k": 2**10, "m": 2**20, "s": 1, "": 1}


def figures(directive: str) -> list[int]:
    """The last word of each such directive, in bytes or seconds."""
    found = re.findall(rf"^\s*{directive} (?:.* )?(\d+)([kms]?);", TEXT, re.MULTILINE)
    assert found, directive
    return [int(number) * UNITS[unit] for number, unit in found]


def test_connections_to_the_gateway_are_closed_by_nginx_first() -> None:
    upstream, _ = figures("keepalive_timeout")
    assert upstream < Settings().timeouts.keep_alive


def test_an_answer_may_take_as_long_as_the_gateway_allows() -> None:
    limits = Settings().timeouts
    assert max(figures("proxy_read_timeout")) > max(limits.answer, limits.first_token, limits.between_tokens)


def test_a_body_may_be_as_large() -> None:
    assert figures("client_max_body_size") == [Settings().requests.body_bytes]


def test_no_head_passes_that_the_gateway_refuses() -> None:
    (size,) = figures("large_client_header_buffers")
    assert 4 * size <= Settings().requests.header_bytes


def test_a_body_may_stand_still_as_long() -> None:
    assert figures("client_body_timeout") == [Settings().timeouts.body]


def test_what_the_files_name_is_there() -> None:
    for file in SOURCE.rglob("*.conf"):
        text = file.read_text(encoding="utf-8")
        assert unknown_environment(text) == unknown_routes(text) == [], file
