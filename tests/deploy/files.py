"""Dockerfiles and compose.yaml, read as Docker reads them, as far as tests ask."""

import re
import shlex
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
IMAGES = sorted((ROOT / "deploy/docker").glob("*Dockerfile"))
GATEWAY_IMAGE = ROOT / "deploy/docker/Dockerfile"
ENGINE_IMAGE = ROOT / "deploy/docker/engine-cpu.Dockerfile"
COMPOSE = ROOT / "deploy/compose"


def instructions(file: Path, name: str) -> list[str]:
    """What stands behind each of these instructions of a Dockerfile, continued lines joined."""
    text = re.sub(r"^#.*\n", "", file.read_text(encoding="utf-8"), flags=re.MULTILINE).replace("\\\n", " ")
    return [line.removeprefix(name).strip() for line in text.splitlines() if line.startswith(f"{name} ")]


def variables(file: Path) -> dict[str, str]:
    """The image's own environment: the last stage's."""
    return dict(word.split("=", 1) for word in shlex.split(instructions(file, "ENV")[-1]))


def compose(**chosen: str) -> Any:
    """compose.yaml with `${NAME:-default}` filled in, and `$$` a dollar."""
    text = (COMPOSE / "compose.yaml").read_text(encoding="utf-8")
    filled = re.sub(r"\$\{([A-Z_]+):-([^}]*)\}", lambda found: chosen.get(found[1], found[2]), text)
    assert "${" not in filled
    return yaml.safe_load(filled.replace("$$", "$"))
