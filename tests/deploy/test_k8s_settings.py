"""What the manifests name is in the code: variables, routes, ports, metrics, commands; and the gateway takes the settings as they are."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import pytest
import yaml
from pydantic import SecretStr
from tests.deploy.manifests import ENGINES, K8S, OVERLAYS, container, engines, environment, gateway, of_kind, rendered, secrets, the
from tests.deploy.names import (
    ENGINE_PORT,
    GATEWAY_PORT,
    METRICS_PORT,
    unknown_commands,
    unknown_environment,
    unknown_metrics,
    unknown_routes,
)

from sightline.settings import Group, Settings, load

FILES = sorted(path for path in K8S.rglob("*") if path.suffix in {".yaml", ".sh", ".md", ".conf", ""} and path.is_file())


@pytest.mark.parametrize("file", FILES, ids=lambda path: str(path.relative_to(K8S)))
def test_variables_routes_metrics_and_commands_are_known(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    commands = text if file.suffix in {".md", ".sh"} else " ".join(re.findall("`[^`\n]*`", text))

    assert unknown_environment(text) == unknown_routes(text) == unknown_metrics(text) == unknown_commands(commands) == []


def loaded(name: str, folder: Path, *flags: str) -> Settings:
    """The settings as a gateway of that overlay reads them, with its Secrets mounted at `folder`."""
    mounted = "/etc/sightline/secrets"
    for key, value in secrets(*flags)["sightline-secrets"].items():
        (folder / key).write_text(value, encoding="utf-8")
    given = {variable: value.replace(mounted, str(folder)) for variable, value in environment(rendered(name)).items()}
    return load(None, given)


@pytest.mark.parametrize("name", OVERLAYS)
def test_the_gateway_takes_its_settings(name: str, tmp_path: Path) -> None:
    settings = loaded(name, tmp_path)

    assert settings.engines == (f"dns+http://engines:{ENGINE_PORT}",)
    assert not settings.serves_loopback
    assert settings.keys_file is not None
    assert settings.engine_key is not None
    assert settings.store.get_secret_value().endswith(f"@{the(rendered('prod'), 'Service', 'sightline-redis')['metadata']['name']}:6379/0")


def test_sentinels_are_the_store_of_redis_ha(tmp_path: Path) -> None:
    url = loaded("redis-ha", tmp_path, "--redis-ha").store.get_secret_value()

    pods = the(rendered("redis-ha"), "StatefulSet", "sightline-redis-ha")["spec"]
    hosts = re.findall(r"[\w.-]+:26379", url)
    assert hosts == [f"sightline-redis-ha-{number}.{pods['serviceName']}:26379" for number in range(pods["replicas"])]
    assert url.endswith("/sightline/0")  # the service that sentinel.sh has them watch
    assert "sentinel monitor sightline " in (K8S / "components/redis-ha/sentinel.sh").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", OVERLAYS)
def test_ports_are_the_gateways_and_the_engines(name: str) -> None:
    objects = rendered(name)
    given = environment(objects)
    ports = {port["name"]: port["containerPort"] for port in container(gateway(objects))["ports"]}

    assert ports == {"http": GATEWAY_PORT, "metrics": METRICS_PORT}
    assert (given["SIGHTLINE_PORT"], given["SIGHTLINE_METRICS_PORT"]) == (str(GATEWAY_PORT), str(METRICS_PORT))
    for owner, pod in engines(objects):
        assert [port["containerPort"] for port in container(pod)["ports"]] == [ENGINE_PORT], owner
        assert f"--port={ENGINE_PORT}" in "=".join(container(pod)["args"]), owner


@pytest.mark.parametrize("name", [*OVERLAYS, *ENGINES])
def test_no_secret_stands_in_a_manifest_as_it_is(name: str) -> None:
    """A setting that is a secret comes from a file only; that file is a Secret's, which `test_k8s_references` sees to."""
    hidden = {f"SIGHTLINE_{path}" for path, kinds in _kinds() if SecretStr in kinds}
    assert {"SIGHTLINE_STORE", "SIGHTLINE_ENGINE_KEY", "SIGHTLINE_IMAGES__S3__SECRET_KEY", "SIGHTLINE_CACHE__ENCRYPTION_KEYS"} <= hidden
    objects = rendered(name)

    assert hidden & environment(objects).keys() == set()
    assert [variable for variable in hidden if re.search(rf"\b{variable}\b", yaml.safe_dump(of_kind(objects, "ConfigMap")))] == []


def _kinds(group: type[Group] = Settings, prefix: str = "") -> Iterator[tuple[str, tuple[object, ...]]]:
    for name, field in group.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, Group):
            yield from _kinds(kind, f"{prefix}{name.upper()}__")
        else:
            yield f"{prefix}{name.upper()}", (kind, *get_args(kind))


@pytest.mark.parametrize("name", [*OVERLAYS, *ENGINES])
def test_probes_are_the_contracts(name: str) -> None:
    """Whether the process lives never depends on an engine or Redis, and whether it takes work does."""
    objects = rendered(name)
    probes = container(gateway(objects))
    assert [probes[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")] == [
        "/health/live",
        "/health/live",
        "/health/ready",
    ]
    for owner, pod in engines(objects):
        paths = {container(pod)[kind]["httpGet"]["path"] for kind in ("startupProbe", "livenessProbe", "readinessProbe")}
        assert paths == {"/health"}, owner
