"""A gateway with its pod's environment starts before Redis and engines are there; with a wrong setting it ends at once, saying which."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from tests.deploy.files import GATEWAY_IMAGE, variables
from tests.deploy.manifests import container, environment, gateway, pods, rendered, secrets, settings
from tests.keyring import KeyRing, bearer
from tests.serving import COMMAND, GatewayProcess, eventually, free_port
from tests.shapes import ask, refusal

MOUNTED = {"/etc/sightline/secrets": "sightline-secrets", "/etc/sightline/keys": "sightline-keys"}


def within_its_pod(folder: Path, name: str = "prod") -> dict[str, str]:
    """The variables of the image and of the pod, with the Secrets mounted below `folder` and ports that are free."""
    given = variables(GATEWAY_IMAGE) | environment(rendered(name))
    for place, secret in MOUNTED.items():
        (folder / secret).mkdir()
        for key, value in secrets()[secret].items():
            (folder / secret / key).write_text(value, encoding="utf-8")
        given = {variable: value.replace(place, str(folder / secret)) for variable, value in given.items()}
    ports = {"SIGHTLINE_PORT": str(free_port()), "SIGHTLINE_METRICS_PORT": str(free_port())}
    return given | ports | {"PATH": os.environ["PATH"], "HOME": str(folder)}


def start(environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *container(gateway(rendered("prod")))["args"]]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=30, check=False)


def test_it_starts_before_engines_and_redis_are_there(tmp_path: Path) -> None:
    """Live at once, so that nobody starts it anew; not ready, so that nobody is sent to it; and it says what it waits for."""
    environ = within_its_pod(tmp_path)
    key = bearer(KeyRing(tmp_path / "sightline-keys/keys.yaml").new())
    with GatewayProcess(environ=environ) as one:
        assert one.client.get("/health/live").status_code == 200
        assert one.client.get("/health/ready").status_code == 503
        refusal(one.chat(ask(), headers=key), 503, "engine_unavailable", "server_error")
        eventually(lambda: one.events("engine_name.unresolved"), what="a line that names the engines")


WRONG = {
    "SIGHTLINE_ENGINES": ("engines:8000", "engines"),
    "SIGHTLINE_IMAGES__THREADS": ("two", "images.threads"),
    "SIGHTLINE_IMAGES__PIXELS_IN_FLIGHT": ("", "images.pixels_in_flight"),
    "SIGHTLINE_TRUSTED_PROXIES": ("10.244.0.0/160", "trusted_proxies"),
    "SIGHTLINE_LIMITS__REQUESTS_IN_FLIGHT": ("-1", "limits.requests_in_flight"),
    "SIGHTLINE_LIMITS__ENGINE_QUEUE": ("many", "limits.engine_queue"),
    "SIGHTLINE_LOG_LEVEL": ("chatty", "log_level"),
    "SIGHTLINE_CACHE__TLL": ("600", "SIGHTLINE_CACHE__TLL"),  # no such name
    "SIGHTLINE_STORE_FILE": ("/etc/sightline/secrets/store", "/etc/sightline/secrets/store"),  # no such file
}


def test_every_setting_of_the_config_map_has_a_wrong_value_here() -> None:
    assert settings(rendered("prod")).keys() | settings(rendered("dev")).keys() <= WRONG.keys()


@pytest.mark.parametrize("variable", WRONG)
def test_a_wrong_setting_is_one_line_that_names_it(variable: str, tmp_path: Path) -> None:
    value, named = WRONG[variable]

    ended = start(within_its_pod(tmp_path) | {variable: value})

    assert (ended.returncode, ended.stdout) == (2, "")
    (line,) = ended.stderr.splitlines()
    assert named in line


def test_a_wrong_secret_is_named_and_not_repeated(tmp_path: Path) -> None:
    environ = within_its_pod(tmp_path)
    store = tmp_path / "sightline-secrets/store-url"
    password = secrets()["sightline-secrets"]["redis-password"]
    store.write_text(f"redis://:{password}@sightline-redis:port/0", encoding="utf-8")

    ended = start(environ)

    assert ended.returncode == 2
    (line,) = ended.stderr.splitlines()
    assert "store" in line
    assert password not in line


def test_kubectl_describe_shows_that_line() -> None:
    """Where a container ends badly without a message of its own, its last lines are the message."""
    for name in ("prod", "dev"):
        for owner, pod in pods(rendered(name)):
            if container(pod)["name"] in {"gateway", "engine"}:
                assert container(pod)["terminationMessagePolicy"] == "FallbackToLogsOnError", owner
