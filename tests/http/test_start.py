"""A gateway that cannot start says why in one line that names the setting and the fix, and exits with another code than 0."""

import socket
import subprocess
from pathlib import Path

import pytest
from tests.fakes.engine import FakeEngine
from tests.serving import COMMAND, MALLOC, GatewayProcess, environment, free_port


def start(*flags: str, **settings: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, "serve", "--port", str(free_port()), *flags]
    return subprocess.run(command, env=environment(**settings), capture_output=True, text=True, timeout=20, check=False)


def complaint(ended: subprocess.CompletedProcess[str]) -> str:
    """The one line."""
    assert ended.returncode not in {0, -9}
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    assert "Traceback" not in line
    return line


def test_malloc_is_told_to_keep_its_memory_by_starting_anew(engine: FakeEngine) -> None:
    environ = {name: value for name, value in environment().items() if name not in MALLOC}
    with GatewayProcess(engine.url, environ=environ) as gateway:
        assert b"MALLOC_TOP_PAD_=" in Path(f"/proc/{gateway.process.pid}/environ").read_bytes()


def test_a_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        line = complaint(start("--port", port))

    assert "--port" in line
    assert port in line


def test_a_metrics_port_that_is_taken_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])

        line = complaint(start("--metrics-port", port))

    assert "--metrics-port" in line
    assert port in line


WRONG: dict[str, tuple[dict[str, object], list[str]]] = {
    "a misspelt name": ({"timeouts__bodi": 3}, ["SIGHTLINE_TIMEOUTS__BODI", "SIGHTLINE_TIMEOUTS__BODY"]),
    "a word for a number": ({"cache__ttl": "soon"}, ["cache.ttl"]),
    "a number out of range": ({"timeouts__body": -1}, ["timeouts.body", "greater than 0"]),
    "an engine that is no URL": ({"engines": "127.0.0.1:8000"}, ["engines", "http://"]),
    "a choice that does not exist": ({"log_level": "loud"}, ["log_level", "'debug'"]),
    "a host that others reach, without keys": ({"host": "0.0.0.0"}, ["host", "--open"]),
    "a key file that is not there": ({"keys_file": "/nonexistent/keys.yaml"}, ["/nonexistent/keys.yaml"]),
    "a secret's file that is not there": ({"engine_key_file": "/nonexistent/key"}, ["SIGHTLINE_ENGINE_KEY_FILE", "/nonexistent/key"]),
    "a store of no known kind": ({"store": "memcached://canary-host"}, ["store", "redis://"]),
}


@pytest.mark.parametrize(("settings", "words"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_setting_is_named_with_its_fix(settings: dict[str, object], words: list[str]) -> None:
    line = complaint(start(**settings))

    assert all(word in line for word in words), line


def test_a_wrong_file_of_settings_is_named(tmp_path: Path) -> None:
    file = tmp_path / "sightline.yaml"
    file.write_text("cache:\n  tll: 5\n", encoding="utf-8")

    assert "cache.ttl" in complaint(start("--config", str(file)))


def test_a_secret_is_not_repeated() -> None:
    line = complaint(start(store="redis://user:canary-password@host:notaport/0"))

    assert "canary" not in line
