"""Of checkov's checks only those fail that deploy/k8s/.checkov.yaml lists with a reason, and each of those still does."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml
from tests.deploy.manifests import ENGINES, K8S, OVERLAYS, Object, combined, container, pods, rendered, the

CHECKOV = Path(sys.executable).parent.with_name("checkov") / "bin/checkov"  # an environment of its own: `make .venv/checkov.stamp`
CONFIG: dict[str, Any] = yaml.safe_load((K8S / ".checkov.yaml").read_text(encoding="utf-8"))


def failed(objects: list[Object], folder: Path) -> set[str]:
    """The checks that fail, those that are skipped included."""
    (folder / "objects.yaml").write_text(yaml.safe_dump_all(objects), encoding="utf-8")
    (folder / "config.yaml").write_text(yaml.safe_dump({name: value for name, value in CONFIG.items() if name != "skip-check"}))
    flags = ["--config-file", "config.yaml", "--file", "objects.yaml", "--output", "json", "--soft-fail"]
    ended = subprocess.run([CHECKOV, *flags], capture_output=True, text=True, timeout=120, check=False, cwd=folder)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["summary"]["passed"] > 0
    assert found["summary"]["parsing_errors"] == 0
    return {check["check_id"] for check in found["results"]["failed_checks"]}


def test_what_fails_is_what_is_listed(tmp_path: Path) -> None:
    """Of everything that there is, each object once; the pods of custom resources as pods, since checkov looks at no other."""
    every = [*OVERLAYS, *ENGINES]
    objects = {json.dumps(found, sort_keys=True): found for name in every for found in rendered(name)}
    bare = [
        {"apiVersion": "v1", "kind": "Pod"} | pod | {"metadata": pod["metadata"] | {"name": f"pod-{number}", "namespace": "sightline"}}
        for number, (_, pod) in enumerate(pods(rendered("multi-node")))
    ]

    assert sorted(failed([*objects.values(), *bare], tmp_path)) == CONFIG["skip-check"]


def test_a_wrong_one_is_found(tmp_path: Path) -> None:
    gateway = the(combined("base"), "Deployment", "sightline")
    container(gateway["spec"]["template"]).update(livenessProbe=None, image="sightline:latest", securityContext={})

    assert {"CKV_K8S_8", "CKV_K8S_14", "CKV_K8S_22"} <= failed([gateway], tmp_path)
