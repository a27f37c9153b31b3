"""nginx keeps its connections to the gateway: a hundred requests, each from a client that is new, need a few."""

from pathlib import Path

import httpx
from tests.deploy.proxy import Nginx
from tests.fakes.engine import FakeEngine


def test_they_are_used_again(tmp_path: Path) -> None:
    with FakeEngine() as gateway, Nginx(tmp_path / "etc", f"127.0.0.1:{gateway.port}") as nginx:
        for _ in range(100):
            with httpx.Client(verify=False) as client:  # it need not read the machine's certificates a hundred times
                assert client.get(f"{nginx.url}/v1/models").status_code == 200

        assert gateway.connections <= 8  # one for each of nginx's workers, of which a machine may have many, and then some
