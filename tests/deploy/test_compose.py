"""compose.yaml is a Compose file by the specification's own schema, keeps everything guarded, and agrees with the code and with nginx.

`compose-spec.json` is the schema of the Compose Specification (compose-spec/compose-spec, commit 170098b, Apache-2.0), unchanged.
"""

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from tests.deploy.files import COMPOSE, ROOT, compose
from tests.deploy.names import ENGINE_PORT, GATEWAY_PORT, METRICS_PORT, unknown_commands, unknown_environment, unknown_routes
from tests.serving import COMMAND, environment, eventually, free_port

from sightline.engines.spec import GPU_MODEL, choose, command
from sightline.settings import Settings

WHOLE = compose()
SERVICES: dict[str, dict[str, Any]] = WHOLE["services"]
GATEWAYS = [name for name in SERVICES if name.startswith("gateway-")]


def test_it_obeys_the_specification() -> None:
    schema = json.loads((Path(__file__).parent / "compose-spec.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(schema, format_checker=jsonschema.FormatChecker())

    assert [f"{error.json_path}: {error.message}" for error in validator.iter_errors(WHOLE)] == []
    assert list(validator.iter_errors(WHOLE | {"services": {"x": {"imagee": "y"}}})) != []


def test_what_it_names_is_there() -> None:
    for file in (path for path in COMPOSE.rglob("*") if path.suffix in {".yaml", ".yml", ".sh"}):
        text = file.read_text(encoding="utf-8")
        assert unknown_environment(text) == unknown_routes(text) == unknown_commands(text) == [], file


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_guarded(name: str) -> None:
    service = SERVICES[name]

    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service.get("read_only") or name == "engine"  # vLLM compiles kernels into its home
    assert "privileged" not in service
    assert service["restart"] == ("no" if name == "keys" else "unless-stopped")


@pytest.mark.parametrize("name", SERVICES)
def test_every_image_has_a_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].rpartition(":")
    assert re.match(r"v?\d", tag), tag


@pytest.mark.parametrize("name", SERVICES)
def test_every_file_that_is_mounted_is_there(name: str) -> None:
    for volume in SERVICES[name].get("volumes", []):
        source = volume.split(":")[0]
        if source.startswith("."):
            assert (COMPOSE / source).exists() or source == "./certs", source
        else:
            assert source in WHOLE["volumes"]


@pytest.mark.parametrize("listen", ["plain", "tls"])
def test_either_way_of_listening_is_a_file(listen: str) -> None:
    volumes = compose(LISTEN=listen)["services"]["nginx"]["volumes"]
    (source,) = (volume.split(":")[0] for volume in volumes if volume.split(":")[1].endswith("listen.conf"))
    ports = re.findall(r"^listen (\d+)", (COMPOSE / source).read_text(encoding="utf-8"), re.MULTILINE)

    published = {port.rpartition(":")[2] for port in SERVICES["nginx"]["ports"]}
    assert set(ports) <= published


def test_only_nginx_is_published_beyond_loopback() -> None:
    for name, service in SERVICES.items():
        assert name == "nginx" or all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name


def test_redis_and_the_engine_are_on_no_network_but_the_inner_one() -> None:
    assert WHOLE["networks"]["inside"]["internal"] is True
    assert SERVICES["redis"]["networks"] == ["inside"]
    assert list(SERVICES["engine-cpu"]["networks"]) == ["inside"]
    assert SERVICES["engine"]["networks"] == ["inside", "outside"]
    assert [name for name, service in SERVICES.items() if "outside" in service.get("networks", [])] == ["engine"]


@pytest.mark.parametrize("edge", ["172.31.84", "10.9.8"])
def test_nginx_and_the_gateways_know_each_other_by_the_same_addresses(edge: str) -> None:
    services = compose(EDGE=edge)["services"]
    address = {name: service["networks"]["edge"]["ipv4_address"] for name, service in services.items() if "edge" in _networks(service)}
    upstream = re.findall(r"^server ([\w-]+):(\d+)", (COMPOSE / "../nginx/upstream/compose.conf").read_text(encoding="utf-8"), re.MULTILINE)

    assert set(address) == {"nginx", *GATEWAYS}
    assert services["nginx"]["extra_hosts"] == [f"{name}:{address[name]}" for name in GATEWAYS]
    assert upstream == [(name, str(GATEWAY_PORT)) for name in GATEWAYS]
    for name in GATEWAYS:
        assert services[name]["environment"]["SIGHTLINE_TRUSTED_PROXIES"] == f"{address['nginx']}/32"


def _networks(service: dict[str, Any]) -> Any:
    return service.get("networks", [])


def test_a_stop_waits_for_the_drain() -> None:
    for name in GATEWAYS:
        assert int(SERVICES[name]["stop_grace_period"].removesuffix("s")) > Settings().timeouts.drain + 1


def test_prometheus_asks_every_gateway_and_the_engine() -> None:
    config = yaml.safe_load((COMPOSE / "../monitoring/prometheus.yml").read_text(encoding="utf-8"))
    targets = [target for job in config["scrape_configs"] for group in job["static_configs"] for target in group["targets"]]

    assert targets == [*(f"{name}:{METRICS_PORT}" for name in GATEWAYS), f"engine:{ENGINE_PORT}"]


def test_vllm_gets_the_flags_that_engine_run_gives_it() -> None:
    """But for its address."""
    ours = command(choose(Path("/x"), "gpu"), ENGINE_PORT, "0.0.0.0")[2:]
    flags = [f"--{flag}".replace(" ", "=", 1) for flag in " ".join(ours).split(" --")[1:]]

    assert SERVICES["engine"]["command"][0] == GPU_MODEL
    assert sorted(SERVICES["engine"]["command"][1:]) == sorted(flags)


def test_no_secret_stands_in_it() -> None:
    """Each is a file of `secrets.sh`, given by its path; the process list shows none."""
    for name, service in SERVICES.items():
        for variable in service.get("environment", {}):
            secret = re.search("KEY|PASSWORD|STORE|TOKEN", variable)
            assert not secret or variable.endswith("_FILE"), (name, variable)
        assert set(service.get("secrets", [])) <= set(WHOLE["secrets"])


def made(folder: Path) -> dict[str, str]:
    """What `secrets.sh` makes, run in `folder`."""
    script = folder / "secrets.sh"
    script.write_bytes((COMPOSE / "secrets.sh").read_bytes())
    subprocess.run(["sh", script], check=True, capture_output=True, timeout=20)
    assert (folder / "secrets").stat().st_mode & 0o777 == 0o700
    return {file.name: file.read_text(encoding="utf-8") for file in (folder / "secrets").iterdir()}


def test_the_script_makes_each_secret_once(tmp_path: Path) -> None:
    first, second = made(tmp_path), made(tmp_path)

    assert first == second
    assert set(first) == {Path(secret["file"]).name for secret in WHOLE["secrets"].values()}
    assert all(len(text) >= 64 for text in first.values())
    assert len(set(first.values())) == len(first)


def test_git_does_not_see_them() -> None:
    ignored = (ROOT / ".gitignore").read_text(encoding="utf-8").splitlines()

    assert {"deploy/compose/secrets/", "deploy/compose/certs/"} <= set(ignored)


def test_redis_starts_with_its_password_and_lets_the_gateway_in(tmp_path: Path) -> None:
    """By the very command of the file, and by the very URL that the gateways get."""
    secrets, port = made(tmp_path), free_port()
    shell = (
        SERVICES["redis"]["command"][2]
        .replace("/run/secrets/", f"{tmp_path}/secrets/")
        .replace("/tmp/redis.conf", f"{tmp_path}/redis.conf")
    )
    url = secrets["store-url"].replace("@redis:6379", f"@127.0.0.1:{port}")
    with subprocess.Popen(["sh", "-c", f"{shell} --port {port} --bind 127.0.0.1 --dir {tmp_path}"], stdout=subprocess.DEVNULL) as redis:
        try:
            eventually(lambda: _stats(url).returncode == 0, 15, "Redis")
            shown = Path(f"/proc/{redis.pid}/cmdline").read_bytes().decode()
            stranger = _stats(f"redis://127.0.0.1:{port}/0")
        finally:
            redis.terminate()

    assert "redis-server" in shown
    assert secrets["redis-password"] not in shown
    assert stranger.returncode != 0


def _stats(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, "cache", "stats"],
        env=environment(store=url) | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
