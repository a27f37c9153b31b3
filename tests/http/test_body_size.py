"""A body larger than the limit is refused at once: from its announced length before a byte of it is read, else as soon as it is over."""

from tests.serving import GatewayProcess, read_response
from tests.shapes import ask, head, refusal


def test_an_announced_length_over_the_limit_is_refused_before_the_body_comes(gateway: GatewayProcess) -> None:
    refusal(gateway.raw(head(33 * 2**20)), 413, "request_too_large")


def test_a_body_that_grows_over_the_limit_is_refused_on_the_way(strict: GatewayProcess) -> None:
    piece = b"%x\r\n%b\r\n" % (10_000, b" " * 10_000)
    with strict.connect() as wire:
        wire.sendall(head(None, "Transfer-Encoding: chunked") + piece * 11)  # and never its end
        refusal(read_response(wire), 413, "request_too_large")


def test_a_body_within_the_limit_is_taken(strict: GatewayProcess) -> None:
    assert strict.chat(ask("x" * 99_000)).status_code == 200


def test_the_message_names_the_limit(strict: GatewayProcess) -> None:
    assert "100,000" in refusal(strict.raw(head(100_001)), 413, "request_too_large")["message"]
