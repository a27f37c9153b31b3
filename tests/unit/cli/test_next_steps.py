"""What `sightline up` tells one to do next works as it stands, from the folder where one is."""

import re
import shlex
from pathlib import Path

import pytest
import yaml

from sightline.cli.deploying import CHECKOUT, next_steps
from sightline.engines.install import Kind


def ways(kind: Kind, here: Path = CHECKOUT) -> dict[str, str]:
    """The command of each way."""
    return dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in next_steps(kind, here=here).splitlines()[1:])


def test_every_way_that_the_checkout_has_is_named() -> None:
    there = {"compose": "Docker compose", "systemd": "systemd", "k8s": "Kubernetes"}

    assert list(ways("gpu")) == [name for folder, name in there.items() if (CHECKOUT / "deploy" / folder).exists()]


@pytest.mark.parametrize("here", [CHECKOUT, CHECKOUT / "docs", Path("/")], ids=["in the checkout", "in a folder of it", "elsewhere"])
def test_every_path_leads_somewhere(here: Path) -> None:
    first, *_ = next_steps("gpu", here=here).splitlines()
    named = re.findall(r"\(([^)]+)\):", first)
    for command in ways("gpu", here).values():
        named += [word for word in shlex.split(command) if "deploy/" in word]

    assert len(named) > 2
    assert all((here / path).exists() for path in named), named


@pytest.mark.parametrize(("kind", "engine"), [("gpu", "engine"), ("cpu", "engine-cpu")])
def test_compose_starts_the_engine_that_this_machine_can_run(kind: Kind, engine: str) -> None:
    (profile,) = shlex.split(ways(kind)["Docker compose"])[1:] or ["gpu"]
    services = yaml.safe_load((CHECKOUT / "deploy/compose/compose.yaml").read_text(encoding="utf-8"))["services"]

    assert [name for name, service in services.items() if service.get("profiles") == [profile]] == [engine]


def test_without_a_checkout_one_is_asked_for(tmp_path: Path) -> None:
    assert "deploy/README.md" in next_steps("cpu", tmp_path)
