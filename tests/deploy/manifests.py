"""What `kubectl apply -k` would send for each folder of deploy/k8s, and ways to ask it questions."""

import functools
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

K8S = Path(__file__).parents[2] / "deploy/k8s"
KUBECTL = Path(sys.executable).with_name("kubectl")  # of one version for everybody, by the test requirements
OVERLAYS = sorted(path.name for path in (K8S / "overlays").iterdir())
ENGINES = sorted(path.name for path in (K8S / "engines").iterdir() if path.name not in {"base", "models", "ephemeral-cache"})
WORKLOADS = ("Deployment", "StatefulSet")


@functools.cache
def rendered(name: str) -> list[Object]:
    """An overlay, or an engine with the base. The same objects for everybody: whoever changes one copies it first."""
    if name in OVERLAYS:
        return _kustomize(K8S / "overlays" / name)
    return combined("base", f"engines/{name}")


def combined(*resources: str, components: tuple[str, ...] = (), more: Object | None = None) -> list[Object]:
    """What somebody's own overlay of these would be."""
    with tempfile.TemporaryDirectory() as folder:
        beside = {
            "resources": [os.path.relpath(K8S / resource, folder) for resource in resources],
            "components": [os.path.relpath(K8S / component, folder) for component in components],
            "namespace": "sightline",
        }
        (Path(folder) / "kustomization.yaml").write_text(yaml.safe_dump(beside | (more or {})), encoding="utf-8")
        return _kustomize(Path(folder))


def _kustomize(folder: Path) -> list[Object]:
    ended = subprocess.run([KUBECTL, "kustomize", folder], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stderr
    return list(yaml.load_all(ended.stdout, yaml.CSafeLoader))


def of_kind(objects: list[Object], *kinds: str) -> list[Object]:
    return [found for found in objects if found["kind"] in kinds]


def the(objects: list[Object], kind: str, name: str) -> Object:
    (found,) = (one for one in of_kind(objects, kind) if one["metadata"]["name"] == name)
    return found


def pods(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """Every kind of pod that these would make, as (name of its owner, template)."""
    for found in of_kind(objects, *WORKLOADS):
        yield found["metadata"]["name"], found["spec"]["template"]
    for found in of_kind(objects, "LeaderWorkerSet"):
        group = found["spec"]["leaderWorkerTemplate"]
        yield f"{found['metadata']['name']} (leader)", group["leaderTemplate"]
        yield f"{found['metadata']['name']} (worker)", group["workerTemplate"]


def labels(pod: Object) -> Mapping[str, str]:
    found: Mapping[str, str] = pod["metadata"]["labels"]
    return found


def selects(selector: Object, given: Mapping[str, str]) -> bool:
    """Whether a label selector, as policies and workloads have it, takes something with these labels."""
    if any(given.get(name) != value for name, value in (selector.get("matchLabels") or {}).items()):
        return False
    for rule in selector.get("matchExpressions") or ():
        assert rule["operator"] == "In", rule
        if given.get(rule["key"]) not in rule["values"]:
            return False
    return True


def container(pod: Object) -> Object:
    """Its only one, or its first."""
    found: Object = pod["spec"]["containers"][0]
    return found


def gateway(objects: list[Object]) -> Object:
    pod: Object = the(objects, "Deployment", "sightline")["spec"]["template"]
    return pod


def settings(objects: list[Object]) -> dict[str, str]:
    """The ConfigMap that the gateways read as their environment."""
    name = container(gateway(objects))["envFrom"][0]["configMapRef"]["name"]
    found: dict[str, str] = the(objects, "ConfigMap", name)["data"]
    return found


def environment(objects: list[Object]) -> dict[str, str]:
    """All variables of a gateway's container."""
    return settings(objects) | {entry["name"]: entry["value"] for entry in container(gateway(objects))["env"]}


def engines(objects: list[Object]) -> Iterator[tuple[str, Object]]:
    """The pods that gateways ask."""
    for name, pod in pods(objects):
        if labels(pod).get("app.kubernetes.io/component") == "engine":
            yield name, pod


def secrets(*flags: str, **environ: str) -> dict[str, dict[str, str]]:
    """The Secrets that secrets.sh prints, by name."""
    given = {"PATH": os.environ["PATH"]} | environ
    ended = subprocess.run([K8S / "secrets.sh", *flags], env=given, capture_output=True, text=True, timeout=10, check=True)
    return {found["metadata"]["name"]: found["stringData"] for found in yaml.safe_load_all(ended.stdout)}
