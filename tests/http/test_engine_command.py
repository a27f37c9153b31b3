"""`sightline engine run` begins nothing when a setting is wrong, or when others could reach an engine that has no key: one line says so."""

import subprocess
from pathlib import Path

import pytest
from tests.serving import COMMAND, environment


def complaint(tmp_path: Path, *flags: str, **settings: object) -> str:
    """The one line; nothing may have been installed or started."""
    command = [*COMMAND, "engine", "run", "--cpu", *flags]
    home = tmp_path / "home"
    ended = subprocess.run(command, env=environment(home=home, **settings), capture_output=True, text=True, timeout=20, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert not home.exists()
    (line,) = ended.stderr.splitlines()
    return line


@pytest.mark.parametrize("settings", [{}, {"engine_key": ""}], ids=["none", "an empty one"])
def test_others_without_a_key(tmp_path: Path, settings: dict[str, object]) -> None:
    line = complaint(tmp_path, "--host", "0.0.0.0", **settings)

    assert "0.0.0.0" in line
    assert "SIGHTLINE_ENGINE_KEY" in line


def test_a_key_file_that_is_not_there(tmp_path: Path) -> None:
    assert "/nonexistent/key" in complaint(tmp_path, engine_key_file="/nonexistent/key")


def test_a_misspelt_name(tmp_path: Path) -> None:
    assert "SIGHTLINE_ENGINE_KEY" in complaint(tmp_path, engine_kei="x").partition("did you mean")[2]
