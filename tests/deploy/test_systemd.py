"""systemd takes the units, finds little left to close in them, and what they name is there."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
from tests.deploy.names import ENGINE_PORT, unknown_commands, unknown_environment
from tests.serving import COMMAND, environment

from sightline.cli.serve import MALLOC
from sightline.settings import Settings, load

FOLDER = Path(__file__).parents[2] / "deploy/systemd"
UNITS = sorted(FOLDER.glob("*.service"))
GATEWAY = (FOLDER / "sightline.service").read_text(encoding="utf-8")
ENGINE = (FOLDER / "sightline-engine.service").read_text(encoding="utf-8")
EXPOSURE = {"sightline.service": 15, "sightline-engine.service": 25}  # tenths, of 100; below 40 is "OK" in systemd's own words


@pytest.fixture(scope="session")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a machine on which they are installed; of systemd's own units, those that are waited for."""
    root = tmp_path_factory.mktemp("machine")
    units = root / "etc/systemd/system"
    units.mkdir(parents=True)
    for unit in UNITS:
        shutil.copy(unit, units)
    for target in ("sysinit", "basic", "shutdown", "network-online", "multi-user"):
        (units / f"{target}.target").write_text("[Unit]\nDescription=One of systemd's own\n", encoding="utf-8")
    program = root / "opt/sightline/bin/sightline"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n", encoding="utf-8")
    program.chmod(0o755)
    return root


def analyze(machine: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["systemd-analyze", *words, f"--root={machine}"], capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_systemd_takes_it(machine: Path, unit: Path) -> None:
    """Without a word: what it does not understand it ignores, and says so."""
    ended = analyze(machine, "verify", unit.name)

    assert (ended.returncode, ended.stdout + ended.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.name)
def test_little_is_left_open(machine: Path, unit: Path) -> None:
    ended = analyze(machine, "security", "--offline=true", "--no-pager", f"--threshold={EXPOSURE[unit.name]}", unit.name)

    assert ended.returncode == 0, ended.stdout


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_what_it_names_is_there(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert unknown_environment(text) == unknown_commands(text) == []


def settings() -> dict[str, str]:
    """What stands in sightline.env, by itself and without its comment signs."""
    text = (FOLDER / "sightline.env").read_text(encoding="utf-8")
    return dict(re.findall(r"^#?(SIGHTLINE_\w+)=(.*)$", text, re.MULTILINE))


def test_its_settings_are_right(tmp_path: Path) -> None:
    keys = tmp_path / "keys.yaml"
    keys.write_text("keys: []\n", encoding="utf-8")
    given = environment() | settings() | {"SIGHTLINE_KEYS_FILE": str(keys)}
    ended = subprocess.run([*COMMAND, "check-config"], env=given, capture_output=True, text=True, timeout=20, check=False)

    assert (ended.returncode, ended.stderr) == (0, "")


def test_gateway_engine_and_nginx_agree_on_their_addresses() -> None:
    found = load(environ=settings())
    host = (FOLDER / "../nginx/upstream/host.conf").read_text(encoding="utf-8")

    assert f"server {found.host}:{found.port} " in host
    assert found.engines == (f"http://127.0.0.1:{ENGINE_PORT}",)
    assert f"engine run --port {ENGINE_PORT}\n" in ENGINE
    assert "127.0.0.1/32" in found.trusted_proxies


def test_a_stop_waits_for_the_drain() -> None:
    (seconds,) = re.findall(r"^TimeoutStopSec=(\d+)$", GATEWAY, re.MULTILINE)
    assert int(seconds) > Settings().timeouts.drain + 1


def test_malloc_is_told_there_what_serve_tells_it() -> None:
    (line,) = re.findall(r"^Environment=(MALLOC.*)$", GATEWAY, re.MULTILINE)
    assert dict(word.split("=") for word in line.split()) == MALLOC
