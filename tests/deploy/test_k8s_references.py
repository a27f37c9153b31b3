"""Whatever an object names is there: Secrets and their keys, ConfigMaps, volumes, ports, Services, what is scaled and guarded."""

import pytest
from tests.deploy.manifests import (
    ENGINES,
    OVERLAYS,
    WORKLOADS,
    Object,
    container,
    labels,
    of_kind,
    pods,
    rendered,
    secrets,
    selects,
    the,
)

GIVEN = {name: set(keys) for name, keys in secrets().items()}
OPTIONAL = {"hf-token"}
THEIRS = {"sightline-tls": {"tls.crt", "tls.key"}}  # of type kubernetes.io/tls, made by cert-manager or by hand

everywhere = pytest.mark.parametrize("name", [*OVERLAYS, *ENGINES])


def names(objects: list[Object], kind: str) -> set[str]:
    return {found["metadata"]["name"] for found in of_kind(objects, kind)}


def ports(pod: Object) -> dict[str, int]:
    return {port["name"]: port["containerPort"] for each in pod["spec"]["containers"] for port in each.get("ports", ())}


@everywhere
def test_what_pods_mount_is_there(name: str) -> None:
    objects = rendered(name)
    given = {config["metadata"]["name"]: set(config["data"]) for config in of_kind(objects, "ConfigMap")}
    for owner, pod in pods(objects):
        mounted = {mount["name"] for each in pod["spec"]["containers"] for mount in each.get("volumeMounts", ())}
        assert mounted == {volume["name"] for volume in pod["spec"].get("volumes", ())}, owner
        for volume in pod["spec"].get("volumes", ()):
            for source in volume.get("projected", {}).get("sources", [volume]):
                if "configMap" in source:
                    wanted = {item["key"] for item in source["configMap"].get("items", ())}
                    assert wanted <= given[source["configMap"]["name"]], owner
                if "secret" in source:
                    secret = source["secret"]
                    wanted = {item["key"] for item in secret.get("items", ())}
                    assert wanted <= (GIVEN | THEIRS)[secret.get("secretName") or secret["name"]], owner
            claim = volume.get("persistentVolumeClaim", {}).get("claimName")
            assert claim is None or claim in names(objects, "PersistentVolumeClaim"), owner


@everywhere
def test_what_containers_read_is_there(name: str) -> None:
    objects = rendered(name)
    for owner, pod in pods(objects):
        for each in pod["spec"]["containers"]:
            for source in each.get("envFrom", ()):
                assert source["configMapRef"]["name"] in names(objects, "ConfigMap"), owner
            for variable in each.get("env", ()):
                key = variable.get("valueFrom", {}).get("secretKeyRef")
                if key and key["name"] in OPTIONAL:
                    assert key["optional"] is True
                elif key:
                    assert key["key"] in GIVEN[key["name"]], owner


@everywhere
def test_a_file_that_a_setting_names_is_mounted(name: str) -> None:
    for owner, pod in pods(rendered(name)):
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for each in pod["spec"]["containers"]:
            where = {mount["mountPath"]: volumes[mount["name"]] for mount in each.get("volumeMounts", ())}
            for variable in each.get("env", ()):
                if variable["name"].endswith("_FILE"):
                    folder, _, file = variable["value"].rpartition("/")
                    secret = where[folder]["secret"]
                    kept = {item["path"] for item in secret["items"]} if "items" in secret else GIVEN[secret["secretName"]]
                    assert file in kept, (owner, variable)


@everywhere
def test_probes_ask_ports_that_are_open(name: str) -> None:
    for owner, pod in pods(rendered(name)):
        for each in pod["spec"]["containers"]:
            for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
                probe = each.get(kind, {})
                port = (probe.get("httpGet") or probe.get("tcpSocket") or {}).get("port")
                assert port is None or port in {open_["name"] for open_ in each["ports"]}, (owner, kind)


@everywhere
def test_services_lead_to_pods_that_listen(name: str) -> None:
    objects = rendered(name)
    for service in of_kind(objects, "Service"):
        behind = [pod for _, pod in pods(objects) if selects({"matchLabels": service["spec"]["selector"]}, labels(pod))]
        assert behind or (service["metadata"]["name"] == "engines" and name in ENGINES), service["metadata"]["name"]
        for pod in behind:
            for port in service["spec"]["ports"]:
                assert port["targetPort"] in {*ports(pod), *ports(pod).values()}, service["metadata"]["name"]


@everywhere
def test_workloads_select_their_own_pods_and_no_others(name: str) -> None:
    objects = rendered(name)
    for owner in of_kind(objects, *WORKLOADS):
        taken = [whose for whose, pod in pods(objects) if selects(owner["spec"]["selector"], labels(pod))]
        assert taken == [owner["metadata"]["name"]]


@everywhere
def test_disruption_budgets_guard_one_workload_each(name: str) -> None:
    objects = rendered(name)
    for budget in of_kind(objects, "PodDisruptionBudget"):
        guarded = [whose for whose, pod in pods(objects) if selects(budget["spec"]["selector"], labels(pod))]
        assert guarded == [budget["metadata"]["name"]]


@everywhere
def test_what_is_scaled_is_there_and_scaled_by_one_only(name: str) -> None:
    """And says itself how many there are only where nobody scales it: each `kubectl apply` would set that number again."""
    objects = rendered(name)
    scaled = [found["spec"]["scaleTargetRef"] for found in of_kind(objects, "HorizontalPodAutoscaler", "ScaledObject")]
    targets = [(target["kind"], target["name"]) for target in scaled]
    assert len(targets) == len(set(targets))
    for kind, target in targets:
        the(objects, kind, target)
    for found in of_kind(objects, *WORKLOADS):
        assert ("replicas" in found["spec"]) != ((found["kind"], found["metadata"]["name"]) in targets), found["metadata"]["name"]


@everywhere
def test_ways_in_lead_to_the_gateways(name: str) -> None:
    objects = rendered(name)
    service = the(objects, "Service", "sightline")
    for found in of_kind(objects, "Ingress"):
        for path in (path for rule in found["spec"]["rules"] for path in rule["http"]["paths"]):
            assert path["backend"]["service"] == {"name": "sightline", "port": {"name": "http"}}
    for found in of_kind(objects, "HTTPRoute"):
        for backend in (backend for rule in found["spec"]["rules"] for backend in rule["backendRefs"]):
            assert backend["name"] == "sightline"
            assert backend["port"] in {port["port"] for port in service["spec"]["ports"] if port["name"] == "http"}
    for found in of_kind(objects, "ClientSettingsPolicy", "ProxySettingsPolicy"):
        for target in found["spec"].get("targetRefs") or [found["spec"]["targetRef"]]:
            the(objects, target["kind"], target["name"])


@everywhere
def test_there_is_one_way_in_at_most(name: str) -> None:
    objects = rendered(name)
    proxies = [whose for whose, pod in pods(objects) if labels(pod).get("app.kubernetes.io/component") == "proxy"]
    assert len([*of_kind(objects, "Ingress", "HTTPRoute"), *proxies]) == (0 if name == "dev" or name in ENGINES else 1)


def test_what_is_scraped_is_there() -> None:
    objects = rendered("monitoring")
    for monitor in of_kind(objects, "ServiceMonitor"):
        found = [one for one in of_kind(objects, "Service") if selects(monitor["spec"]["selector"], one["metadata"]["labels"])]
        assert len(found) == 1
        for endpoint in monitor["spec"]["endpoints"]:
            assert endpoint["port"] in {port["name"] for port in found[0]["spec"]["ports"]}


def test_secrets_are_in_no_manifest() -> None:
    for name in (*OVERLAYS, *ENGINES):
        assert of_kind(rendered(name), "Secret") == []


def test_the_first_container_is_the_one_that_serves() -> None:
    """Which other tests and the overlays' patches take for granted."""
    for name in (*OVERLAYS, *ENGINES):
        assert {container(pod)["name"] for _, pod in pods(rendered(name))} <= {"gateway", "engine", "worker", "redis", "nginx"}
