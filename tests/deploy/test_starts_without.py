"""With its container's environment a gateway starts though Redis or the engine is not there yet; without an engine it is not ready."""

from pathlib import Path

from tests.deploy.files import GATEWAY_IMAGE, compose, variables
from tests.fakes.engine import FakeEngine
from tests.fakes.redis_server import RedisServer
from tests.keyring import KeyRing, bearer
from tests.serving import GatewayProcess, environment, eventually, free_port, ready
from tests.shapes import ask, refusal


class Container:
    """The gateway's environment in compose.yaml, with other addresses, and its secrets in files."""

    def __init__(self, folder: Path, engine: str, store: str) -> None:
        self.keys = KeyRing(folder / "keys.yaml")
        (folder / "store-url").write_text(f"{store}\n", encoding="utf-8")
        (folder / "engine-key").write_text("the engine's\n", encoding="utf-8")
        files = {
            "SIGHTLINE_ENGINES": engine,
            "SIGHTLINE_STORE_FILE": str(folder / "store-url"),
            "SIGHTLINE_ENGINE_KEY_FILE": str(folder / "engine-key"),
            "SIGHTLINE_KEYS_FILE": str(self.keys.file),
            "SIGHTLINE_METRICS_PORT": str(free_port()),
        }
        given = variables(GATEWAY_IMAGE) | compose()["services"]["gateway-1"]["environment"]
        assert files.keys() <= given.keys()
        self.environ = environment() | given | files | {"PATH": environment()["PATH"]}


def test_without_redis_it_answers(tmp_path: Path) -> None:
    """And keeps answers once Redis has come."""
    redis = RedisServer(tmp_path / "redis")
    with FakeEngine(key="the engine's") as engine:
        container = Container(tmp_path, engine.url, redis.url)
        key = bearer(container.keys.new())
        with GatewayProcess(environ=container.environ) as gateway:
            ready(gateway)
            assert gateway.chat(ask("one?"), headers=key).headers["x-cache"] == "BYPASS"

            redis.start()
            try:
                eventually(lambda: gateway.chat(ask("one?"), headers=key).headers["x-cache"] == "HIT", 15, "a hit")
            finally:
                redis.kill()


def test_without_an_engine_it_is_live_and_not_ready_and_says_why(tmp_path: Path) -> None:
    container = Container(tmp_path, f"http://127.0.0.1:{free_port()}", "memory://")
    key = bearer(container.keys.new())
    with GatewayProcess(environ=container.environ) as gateway:
        assert gateway.client.get("/health/live").status_code == 200
        assert gateway.client.get("/health/ready").status_code == 503
        refusal(gateway.chat(ask(), headers=key), 503, "engine_unavailable", "server_error")
        eventually(lambda: gateway.events("engine.unreachable"), what="a line that names the engine")
