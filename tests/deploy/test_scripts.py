"""The shell scripts lint clean."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = [ROOT / ".ci/run", *sorted((ROOT / "deploy").rglob("*.sh")), *sorted((ROOT / "clients").glob("curl/*.sh"))]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.name)
def test_the_linter_has_nothing_to_say(script: Path) -> None:
    linter = Path(sys.executable).with_name("shellcheck")
    ended = subprocess.run([linter, "--color=never", script], capture_output=True, text=True, timeout=60, check=False)

    assert (ended.returncode, ended.stdout) == (0, "")
