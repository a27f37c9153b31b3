"""Every container runs as nobody, can gain nothing, writes only where it must, and knows no more secrets than it needs."""

import re
import subprocess
from pathlib import Path

import pytest
import yaml
from tests.deploy.files import GATEWAY_IMAGE, instructions
from tests.deploy.manifests import ENGINES, OVERLAYS, Object, container, gateway, of_kind, pods, rendered, secrets, settings
from tests.keyring import KeyRing

from sightline.capacity.figures import figures
from sightline.settings import load

everywhere = pytest.mark.parametrize("name", [*OVERLAYS, *ENGINES])

VLLM_USER = 2000  # whom vLLM's image is made for
SECRET_VARIABLES = {("VLLM_API_KEY", "sightline-secrets"), ("HF_TOKEN", "hf-token")}  # vLLM reads them from there only
NOT_TO_BE_READ = re.compile("KEY|PASSWORD|STORE|TOKEN|SECRET")


def containers(objects: list[Object]) -> list[tuple[str, Object]]:
    return [
        (f"{owner}/{each['name']}", each)
        for owner, pod in pods(objects)
        for each in [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
    ]


@everywhere
def test_pods_run_as_nobody_and_speak_to_no_api_server(name: str) -> None:
    for owner, pod in pods(rendered(name)):
        spec, guard = pod["spec"], pod["spec"]["securityContext"]
        assert guard["runAsNonRoot"] is True, owner
        assert guard["runAsUser"] >= 10000 or (guard["runAsUser"] == VLLM_USER and container(pod)["name"] in {"engine", "worker"}), owner
        assert guard["seccompProfile"] == {"type": "RuntimeDefault"}, owner
        assert spec["automountServiceAccountToken"] is False, owner
        assert spec["enableServiceLinks"] is False, owner
        assert not {"hostNetwork", "hostPID", "hostIPC", "hostUsers"} & spec.keys(), owner


@everywhere
def test_containers_can_gain_and_write_nothing(name: str) -> None:
    for owner, each in containers(rendered(name)):
        assert each["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }, owner
        assert not any("hostPort" in port for port in each.get("ports", ())), owner


@everywhere
def test_volumes_are_of_the_kinds_that_are_allowed_and_bounded(name: str) -> None:
    """Secrets are for reading, by their group only; nothing is the node's own; what is written to is bounded."""
    for owner, pod in pods(rendered(name)):
        mounts = {mount["name"]: mount for each in pod["spec"]["containers"] for mount in each["volumeMounts"]}
        for volume in pod["spec"]["volumes"]:
            (kind,) = volume.keys() - {"name"}
            assert kind in {"secret", "configMap", "projected", "emptyDir", "persistentVolumeClaim"}, owner
            if kind in {"secret", "projected"}:
                assert volume[kind]["defaultMode"] == 0o440, owner
            if kind in {"secret", "configMap", "projected"}:
                assert mounts[volume["name"]]["readOnly"] is True, owner
            if kind == "emptyDir":
                assert "sizeLimit" in volume[kind], owner


@everywhere
def test_memory_is_bounded_and_what_is_needed_is_asked_for(name: str) -> None:
    for owner, each in containers(rendered(name)):
        assert {"cpu", "memory"} <= each["resources"]["requests"].keys(), owner
        assert "memory" in each["resources"]["limits"], owner
        assert "cpu" not in each["resources"]["limits"], owner  # it would stop what has an idle core beside it


@pytest.mark.parametrize("name", OVERLAYS)
def test_a_gateway_has_the_memory_that_its_settings_let_it_take(name: str) -> None:
    """All bounds at once, and the largest pictures in all threads: no request may end in the kernel's hands."""
    taken, used = load(None, settings(rendered(name))), figures()
    images, fetch = taken.images, taken.images.fetch
    held = images.memo_bytes + taken.requests.bytes_in_flight + fetch.keep_bytes + fetch.concurrency * images.max_bytes
    most = used["memory.base"].value * 1e6 + held + used["memory.pixel"].value * images.pixels_in_flight

    assert container(gateway(rendered(name)))["resources"]["limits"]["memory"] == "2Gi"
    assert most < 2 * 2**30
    assert images.pixels_in_flight == images.threads * images.max_pixels


@everywhere
def test_the_namespace_refuses_what_is_not_so(name: str) -> None:
    """Pod Security's strictest profile; and everything is in that namespace, whatever `kubectl` stands in."""
    objects = rendered(name)
    (namespace,) = of_kind(objects, "Namespace")

    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    for found in objects:
        assert found is namespace or found["metadata"]["namespace"] == namespace["metadata"]["name"], found["metadata"]["name"]


@everywhere
def test_images_have_versions(name: str) -> None:
    for owner, each in containers(rendered(name)):
        assert re.fullmatch(r"[\w./-]+:v?\d[\w.-]*", each["image"]), owner


@everywhere
def test_secrets_are_no_values_of_variables(name: str) -> None:
    """So `kubectl describe` shows none: each is a file, or named as a Secret's key where vLLM takes no file."""
    for owner, each in containers(rendered(name)):
        for variable in each.get("env", ()):
            key = variable.get("valueFrom", {}).get("secretKeyRef")
            if key:
                assert (variable["name"], key["name"]) in SECRET_VARIABLES, owner
            elif NOT_TO_BE_READ.search(variable["name"]):
                assert variable["name"].endswith("_FILE") or variable["value"].startswith("/"), (owner, variable)
        assert not any("secretRef" in source for source in each.get("envFrom", ())), owner


@pytest.mark.parametrize("name", OVERLAYS)
def test_no_pod_is_given_a_secret_that_is_not_its_own(name: str) -> None:
    """The gateway has no use for Redis's bare password, Redis none for the engine's key, nginx none but its certificate."""
    wanted = {
        "gateway": {"engine-key", "store-url", "keys.yaml"},
        "redis": {"redis-password"},
        "engine": {"engine-key"},
        "worker": set(),
        "nginx": {"tls.crt", "tls.key"},
    }
    for owner, pod in pods(rendered(name)):
        given: set[str] = set()
        for volume in pod["spec"]["volumes"]:
            for source in volume.get("projected", {}).get("sources", [volume]):
                secret = source.get("secret")
                if secret:
                    whole = secrets().get(secret.get("secretName", ""), {})
                    given |= {item["key"] for item in secret["items"]} if "items" in secret else set(whole)
        given |= {
            variable["valueFrom"]["secretKeyRef"]["key"]
            for each in pod["spec"]["containers"]
            for variable in each.get("env", ())
            if "secretKeyRef" in variable.get("valueFrom", {}) and variable["name"] != "HF_TOKEN"
        }
        assert given == wanted[container(pod)["name"]], owner


def test_the_gateway_is_the_user_of_its_image() -> None:
    user, group = instructions(GATEWAY_IMAGE, "USER")[-1].split(":")
    guard = gateway(rendered("prod"))["spec"]["securityContext"]

    assert (guard["runAsUser"], guard["runAsGroup"], guard["fsGroup"]) == (int(user), int(group), int(group))


def test_secrets_are_new_each_time_and_long() -> None:
    first, second = secrets()["sightline-secrets"], secrets()["sightline-secrets"]

    for name in ("engine-key", "redis-password"):
        assert len(first[name]) == 64
        assert first[name] != second[name]
    assert first["redis-password"] in first["store-url"]


def test_callers_keys_that_were_made_before_are_given(tmp_path: Path) -> None:
    """As they stand in the file; without one, an empty list, with which a gateway starts and answers nobody."""
    ring = KeyRing(tmp_path / "keys.yaml")
    ring.new(tenant="acme")
    ring.new(tenant="shop")

    assert yaml.safe_load(secrets(KEYS=str(ring.file))["sightline-keys"]["keys.yaml"]) == yaml.safe_load(
        ring.file.read_text(encoding="utf-8")
    )
    assert yaml.safe_load(secrets()["sightline-keys"]["keys.yaml"]) == {"keys": []}


def test_the_script_prints_nothing_where_it_is_asked_for_what_is_not_there() -> None:
    """Else `kubectl create` would make what nobody wanted: one Redis in place of three, no keys in place of some."""
    for flags, environ in [(["--redis-hq"], {}), ([], {"KEYS": "/nonexistent/keys.yaml"})]:
        with pytest.raises(subprocess.CalledProcessError) as ended:
            secrets(*flags, **environ)
        assert ended.value.stdout == ""


def test_no_config_map_holds_one() -> None:
    """Nor does one hold what looks like a long random word, a password in a URL or a private key."""
    for name in (*OVERLAYS, *ENGINES):
        text = yaml.safe_dump(of_kind(rendered(name), "ConfigMap"))
        assert not re.search(r"://[^/\s]*:[^/\s]*@|PRIVATE KEY|\b[0-9a-f]{32,}\b", text), name
