"""The images are built from what is there and nothing else, lint clean, and name only what the code has; the gateway's runs guarded."""

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path

import pytest
from tests.deploy.files import ENGINE_IMAGE, GATEWAY_IMAGE, IMAGES, ROOT, instructions, variables
from tests.deploy.names import ENGINE_PORT, GATEWAY_PORT, METRICS_PORT, unknown_commands, unknown_environment, unknown_routes
from tests.fakes.engine import FakeEngine
from tests.serving import COMMAND, GatewayProcess, environment, free_port

from sightline.cli.serve import MALLOC


def health_check(file: Path) -> list[str]:
    found: list[str] = json.loads(instructions(file, "HEALTHCHECK")[0].partition("CMD ")[2])
    return [sys.executable, *found[1:]]


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.name)
def test_the_linter_has_nothing_to_say(file: Path) -> None:
    linter = Path(sys.executable).with_name("hadolint")
    ended = subprocess.run([linter, "--no-color", file], capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (0, "")


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.name)
def test_what_it_names_is_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert unknown_environment(text) == unknown_routes(text) == unknown_commands(text) == []


def copied(file: Path) -> Iterator[str]:
    for line in instructions(file, "COPY"):
        words = shlex.split(line)
        if not words[0].startswith("--from"):
            yield from words[:-1]


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.name)
def test_all_that_it_copies_is_let_through_to_the_build(file: Path) -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    assert lines[1] == "*"  # all else stays outside
    let_through = [line.removeprefix("!") for line in lines if line.startswith("!")]

    for name in copied(file):
        assert (ROOT / name).exists(), name
        assert any(fnmatch(name, pattern) for pattern in let_through), name


def test_nothing_is_let_through_that_no_image_copies() -> None:
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()

    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == {name for file in IMAGES for name in copied(file)}


@pytest.mark.parametrize("file", IMAGES, ids=lambda file: file.name)
def test_it_does_not_run_as_root(file: Path) -> None:
    """By number, so that Kubernetes can see it."""
    (user,) = instructions(file, "USER")
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_the_gateways_image_holds_no_engine() -> None:
    lock = (ROOT / "requirements/gateway.txt").read_text(encoding="utf-8")

    assert re.findall(r"^(vllm|torch|transformers)\b", lock, re.MULTILINE) == []


def test_malloc_is_told_there_what_serve_tells_it() -> None:
    assert {name: value for name, value in variables(GATEWAY_IMAGE).items() if name in MALLOC} == MALLOC


def test_its_ports_are_the_codes() -> None:
    chosen = variables(GATEWAY_IMAGE)

    assert (chosen["SIGHTLINE_PORT"], chosen["SIGHTLINE_METRICS_PORT"]) == (str(GATEWAY_PORT), str(METRICS_PORT))
    assert instructions(GATEWAY_IMAGE, "EXPOSE") == [f"{GATEWAY_PORT} {METRICS_PORT}"]
    assert instructions(ENGINE_IMAGE, "EXPOSE") == [str(ENGINE_PORT)]


def test_the_health_check_tells_a_gateway_that_lives_from_one_that_does_not(gateway: GatewayProcess) -> None:
    check = health_check(GATEWAY_IMAGE)

    alive = subprocess.run(check, env={"SIGHTLINE_PORT": str(gateway.port)}, timeout=20, check=False)
    dead = subprocess.run(check, env={"SIGHTLINE_PORT": str(free_port())}, stderr=subprocess.DEVNULL, timeout=20, check=False)

    assert (alive.returncode, dead.returncode) == (0, 1)


@pytest.mark.parametrize("healthy", [True, False])
def test_so_does_the_engines(healthy: bool) -> None:
    with FakeEngine() as engine:
        engine.healthy = healthy
        check = [word.replace(f"127.0.0.1', {ENGINE_PORT}", f"127.0.0.1', {engine.port}") for word in health_check(ENGINE_IMAGE)]
        assert str(engine.port) in check[-1]

        assert subprocess.run(check, timeout=20, check=False).returncode == (0 if healthy else 1)


def test_without_keys_it_serves_nobody() -> None:
    """The image listens on all addresses, so it wants keys (or to be told otherwise), in one line."""
    settings = environment() | variables(GATEWAY_IMAGE) | {"PATH": "", "SIGHTLINE_PORT": str(free_port())}
    ended = subprocess.run([*COMMAND, "serve"], env=settings, capture_output=True, text=True, timeout=20, check=False)

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "sightline keys new" in line
