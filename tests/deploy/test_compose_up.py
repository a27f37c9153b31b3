"""`up.sh` says these words to Docker, in this order: it makes a caller's key only where there is none, and waits until all are well."""

import subprocess
from pathlib import Path

import pytest
from tests.deploy.files import COMPOSE

# Writes down what it is told. `keys list` fails where nobody has made a key.
DOCKER = """#!/bin/sh
echo "$*" >> "$(dirname "$0")/../told"
case $* in *"keys list") exit ${KEYS_MISSING:-0} ;; esac
"""


def told(folder: Path, *words: str, **environ: str) -> list[str]:
    for name in ("up.sh", "secrets.sh"):
        (folder / name).write_bytes((COMPOSE / name).read_bytes())
        (folder / name).chmod(0o755)
    docker = folder / "bin/docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER, encoding="utf-8")
    docker.chmod(0o755)
    path = {"PATH": f"{docker.parent}:/usr/bin:/bin"}
    subprocess.run(["sh", folder / "up.sh", *words], env=path | environ, check=True, capture_output=True, timeout=20)
    return (folder / "told").read_text(encoding="utf-8").splitlines()


def test_the_first_time_a_key_is_made(tmp_path: Path) -> None:
    assert told(tmp_path, KEYS_MISSING="2") == [
        "compose --profile gpu build",
        "compose run --rm keys list",
        "compose run --rm keys new --tenant default",
        "compose --profile gpu up --detach --wait",
    ]
    assert (tmp_path / "secrets/engine-key").stat().st_size == 64


def test_later_the_keys_stay_as_they_are(tmp_path: Path) -> None:
    assert told(tmp_path, "cpu-demo") == [
        "compose --profile cpu-demo build",
        "compose run --rm keys list",
        "compose --profile cpu-demo up --detach --wait",
    ]


def test_another_word_is_refused(tmp_path: Path) -> None:
    with pytest.raises(subprocess.CalledProcessError, match="exit status 2"):
        told(tmp_path, "cpu")
