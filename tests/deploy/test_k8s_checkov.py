"""Of checkov's checks only those fail that deploy/k8s/.checkov.yaml lists with a reason, and each of those still does."""

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.deploy.manifests import ENGINES, K8S, OVERLAYS, container, pods, rendered, the

CHECKOV = Path(sys.executable).parent.with_name("checkov") / "bin/checkov"  # an environment of its own: `make .venv/checkov.stamp`
CONFIG: dict[str, Any] = yaml.safe_load((K8S / ".checkov.yaml").read_text(encoding="utf-8"))


SPOILED = "spoiled"


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """The checks that fail by the name of the object, those that are skipped included: of all that there is, each object once, and of a
    gateway that is none of ours. The pods of custom resources stand there as pods, since checkov looks at no others.
    """
    folder = tmp_path_factory.mktemp("checkov")
    objects = {json.dumps(found, sort_keys=True): found for name in (*OVERLAYS, *ENGINES) for found in rendered(name)}
    bare = [
        {"apiVersion": "v1", "kind": "Pod"} | pod | {"metadata": pod["metadata"] | {"name": f"pod-{number}", "namespace": "sightline"}}
        for number, (_, pod) in enumerate(pods(rendered("multi-node")))
    ]
    spoiled = copy.deepcopy(the(rendered("prod"), "Deployment", "sightline"))
    spoiled["metadata"]["name"] = SPOILED
    container(spoiled["spec"]["template"]).update(livenessProbe=None, image="sightline:latest", securityContext={})
    (folder / "objects.yaml").write_text(yaml.dump_all([*objects.values(), *bare, spoiled], Dumper=yaml.CSafeDumper), encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump({name: value for name, value in CONFIG.items() if name != "skip-check"}))
    flags = ["--config-file", "config.yaml", "--file", "objects.yaml", "--output", "json", "--soft-fail"]
    ended = subprocess.run([CHECKOV, *flags], capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["summary"]["parsing_errors"] == 0
    by_name: dict[str, set[str]] = {}
    for check in found["results"]["failed_checks"]:
        by_name.setdefault(check["resource"].rpartition(".")[2], set()).add(check["check_id"])
    return by_name


def test_what_fails_is_what_is_listed(failed: dict[str, set[str]]) -> None:
    ours = {name: checks for name, checks in failed.items() if name != SPOILED}

    assert {name: checks - set(CONFIG["skip-check"]) for name, checks in ours.items() if checks - set(CONFIG["skip-check"])} == {}
    assert sorted(set().union(*ours.values())) == CONFIG["skip-check"]


def test_a_wrong_one_is_found(failed: dict[str, set[str]]) -> None:
    assert {"CKV_K8S_8", "CKV_K8S_14", "CKV_K8S_22"} <= failed[SPOILED]
