"""With the TLS snippet nginx serves the certificate that lies beside it, and streams all the same."""

import ssl
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
import trustme
from tests.deploy.proxy import Nginx
from tests.fakes.engine import FakeEngine, Script
from tests.serving import GatewayProcess
from tests.shapes import ask, chunks, refusal


@pytest.fixture
def secure(gateway: GatewayProcess, tmp_path: Path) -> Iterator[tuple[Nginx, ssl.SSLContext]]:
    """nginx, and what a client trusts."""
    authority = trustme.CA()
    issued = authority.issue_cert("127.0.0.1")
    nginx = Nginx(tmp_path / "etc", f"127.0.0.1:{gateway.port}", listen=" ssl; include sightline/tls.conf")
    certificates = tmp_path / "etc/certs"
    certificates.mkdir()
    issued.private_key_pem.write_to_path(certificates / "tls.key")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(certificates / "tls.crt", append=True)
    trusted = ssl.create_default_context()
    authority.configure_trust(trusted)
    with nginx:
        yield nginx, trusted


def test_a_stream_comes_through(secure: tuple[Nginx, ssl.SSLContext], engine: FakeEngine) -> None:
    nginx, trusted = secure
    engine.script = Script(tokens=5)
    with httpx.Client(base_url=f"https://127.0.0.1:{nginx.port}", verify=trusted) as client:
        answer = client.post("/v1/chat/completions", json=ask(stream=True))

    assert len(chunks(answer)) == 6
    assert "max-age=" in answer.headers["strict-transport-security"]


def test_who_does_not_trust_the_certificate_is_not_served(secure: tuple[Nginx, ssl.SSLContext]) -> None:
    with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        httpx.get(f"https://127.0.0.1:{secure[0].port}/health/live", verify=ssl.create_default_context())


def test_plain_http_on_that_port_is_told_so_in_our_shape(secure: tuple[Nginx, ssl.SSLContext]) -> None:
    refusal(secure[0].chat(ask()), 400, "invalid_value")
