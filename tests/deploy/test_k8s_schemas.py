"""Every object of every overlay and engine obeys its schema, strictly: Kubernetes' own, oldest and newest, or that of its project."""

import functools
import json
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
from kubernetes_validate import utils
from tests.deploy.manifests import ENGINES, OVERLAYS, Object, combined, pods, rendered

SCHEMAS = Path(__file__).parent / "schemas"
OLDEST, NEWEST = "1.30", "1.37"  # 1.30 is the first with `preStop.sleep` switched on


@pytest.fixture(autouse=True)
def _read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The validator reads 3 MB of definitions for each object."""
    monkeypatch.setattr(utils, "schema_contents", _contents)


_contents = functools.cache(utils.schema_contents)


def wrong(found: Object) -> list[str]:
    custom = SCHEMAS / f"{found['kind']}.json"
    if custom.exists():
        schema = json.loads(custom.read_text(encoding="utf-8"))
        return [f"{error.json_path}: {error.message}" for error in jsonschema.Draft202012Validator(schema).iter_errors(found)]
    return [line for version in (OLDEST, NEWEST) for line in _wrong_for(version, json.dumps(found, sort_keys=True))]


@functools.cache
def _wrong_for(version: str, text: str) -> list[str]:
    try:
        kubernetes_validate.validate(json.loads(text), version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{version}: {error.json_path}: {error.message}"]
    return []


@pytest.mark.parametrize("name", [*OVERLAYS, *ENGINES])
def test_objects_obey_their_schemas(name: str) -> None:
    objects = rendered(name)

    assert {f"{found['kind']} {found['metadata']['name']}": wrong(found) for found in objects if wrong(found)} == {}


def test_so_do_the_pods_within_custom_resources() -> None:
    for name, pod in pods(rendered("multi-node")):
        bare = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"} | pod["metadata"], "spec": pod["spec"]}
        assert wrong(bare) == [], name


@pytest.mark.parametrize("way_in", ["components/nginx", "components/gateway-api", "components/ingress"])
def test_components_go_together(way_in: str) -> None:
    """What the overlays add one by one may be had at once."""
    chosen = ("components/redis-ha", "components/monitoring", "components/keda")
    base = () if way_in == "components/ingress" else (way_in,)  # prod has that already
    objects = combined("overlays/prod", "engines/glm-4.6v", components=(*chosen, *base))

    assert [line for found in objects for line in wrong(found)] == []
    kinds = [found["kind"] for found in objects]
    assert (kinds.count("StatefulSet"), kinds.count("ScaledObject"), kinds.count("HorizontalPodAutoscaler")) == (1, 2, 0)


def test_an_engine_may_have_a_volume_of_its_own() -> None:
    objects = combined("base", "engines/glm-4.6v-flash", components=("engines/ephemeral-cache",))

    assert [found["kind"] for found in objects if wrong(found)] == []
    (volume,) = (
        volume for found in objects if found["kind"] == "Deployment" for volume in found["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "models"
    )  # fmt: skip
    assert set(volume) == {"name", "ephemeral"}
    assert "PersistentVolumeClaim" not in {found["kind"] for found in objects}


@pytest.mark.parametrize(
    ("name", "kind", "spoil"),
    [
        ("prod", "Deployment", {"replikas": 1}),
        ("prod", "NetworkPolicy", {"podSelektor": {}}),
        ("keda", "ScaledObject", {"minReplicas": 1}),
        ("monitoring", "ServiceMonitor", {"selector": 1}),
        ("multi-node", "LeaderWorkerSet", {"leaderWorkerTemplate": {}}),
    ],
)
def test_a_wrong_one_is_found(name: str, kind: str, spoil: dict[str, Any]) -> None:
    found = next(one for one in rendered(name) if one["kind"] == kind)

    assert wrong(found | {"spec": found["spec"] | spoil}) != []
