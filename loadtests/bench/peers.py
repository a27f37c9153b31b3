"""Who is measured: Sightline in several settings, and what people put in front of an engine otherwise. Each is one worker on one core."""

import secrets
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from loadtests.bench.programs import Command, Invalid

from sightline.cli.serve import MALLOC

HERE = Path(__file__).resolve().parent


@dataclass(frozen=True, slots=True)
class Place:
    """Where a peer listens, whom it asks, and its folder for what it writes.

    Each has a Redis database of its own: gateways that share one find each other, and then take leases and share limits.
    """

    port: int
    engine: int
    redis: int
    database: int
    folder: Path
    venv: Path


@dataclass(frozen=True, slots=True)
class Peer:
    """`caches`: it answers the same question again by itself. `cells`: the ones it is measured in, if not all."""

    command: Command
    caches: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    cells: frozenset[str] | None = None


def sightline(place: Place, **settings: str) -> Peer:
    """All features on: a key with limits (far away), the Redis cache, engine reuse, metrics, a JSON log line a request."""
    return _sightline(place, settings)


def sightline_resend(place: Place) -> Peer:
    """The same before an engine that has always just let go of a picture (`mock --forgetful`), so that the bytes are sent each time."""
    return _sightline(place, {}, cells=frozenset({"miss.i100k", "miss.i1m"}))


def sightline_nocache(place: Place) -> Peer:
    return _sightline(place, {"CACHE__ENABLED": "false"}, caches=False)


def sightline_plain(place: Place) -> Peer:
    """No keys, no limits, no store, no cache, no log lines: what the rest costs."""
    command = [sys.executable, "-m", "sightline", "serve", "--port", str(place.port), "--engine", f"http://127.0.0.1:{place.engine}"]
    return Peer(Command(command, MALLOC | {"SIGHTLINE_CACHE__ENABLED": "false", "SIGHTLINE_LOG_LEVEL": "error"}))


def _sightline(place: Place, settings: Mapping[str, str], *, caches: bool = True, cells: frozenset[str] | None = None) -> Peer:
    keys = place.folder / "keys.yaml"
    limits = ("requests_per_minute", "tokens_per_minute", "images_per_minute", "concurrent_requests")
    command = [sys.executable, "-m", "sightline", "keys", "new", "--tenant", "bench", "--file", str(keys)]
    made = subprocess.run([*command, *(f"--limit={name}=1000000000" for name in limits)], capture_output=True, text=True, check=False)
    if made.returncode:
        raise Invalid(f"no key could be made: {made.stderr.strip()}")
    # A machine that stands still for 50 ms (shared ones do) would make the cache step aside, which is the fault runs' to measure.
    environ = {
        "KEYS_FILE": str(keys),
        "STORE": f"redis://127.0.0.1:{place.redis}/{place.database}",
        "LOG_FORMAT": "json",
        "CACHE__TIMEOUT": "0.5",
        **settings,
    }
    serve = [sys.executable, "-m", "sightline", "serve", "--port", str(place.port), "--engine", f"http://127.0.0.1:{place.engine}"]
    return Peer(
        Command(serve, MALLOC | {f"SIGHTLINE_{name}": value for name, value in environ.items()}),
        caches=caches,
        headers={"Authorization": f"Bearer {made.stdout.strip()}"},
        cells=cells,
    )


def relay(place: Place) -> Peer:
    return Peer(Command([sys.executable, str(HERE / "relay.py"), str(place.port), f"http://127.0.0.1:{place.engine}"], MALLOC))


def bare(place: Place) -> Peer:
    words = map(str, (place.port, place.engine, place.redis, place.database))
    return Peer(Command([sys.executable, str(HERE / "bare.py"), *words], MALLOC), caches=True)


NGINX = """\
daemon off; worker_processes 1; user root; pid {folder}/nginx.pid; error_log {folder}/error.log warn;
events {{ worker_connections 4096; multi_accept on; }}
http {{
  access_log off; client_max_body_size 64m; client_body_buffer_size 2m;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  keepalive_requests 100000000; keepalive_timeout 600s;
  upstream engine {{ server 127.0.0.1:{engine}; keepalive 256; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{port} backlog=1024;
    location / {{ proxy_pass http://engine; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""


def nginx(place: Place) -> Peer:
    """One worker, keep-alive both ways, bodies held in memory: nothing but proxying.

    With glibc's defaults each body above 128 kB is mapped and unmapped, which costs nginx half its throughput. Kept from that as we are,
    it is faster and steadier: the fairer rival.
    """
    file = place.folder / "nginx.conf"
    file.write_text(NGINX.format(folder=place.folder, engine=place.engine, port=place.port), encoding="utf-8")
    error_log = str(place.folder / "error.log")
    return Peer(Command(["/usr/sbin/nginx", "-e", error_log, "-p", str(place.folder), "-c", str(file)], MALLOC))


def vllm_router(place: Place) -> Peer:
    """Its default policy reads the prompt to place it; with one engine round robin is the cheapest."""
    program, engine = str(place.venv / "bin/vllm-router"), f"http://127.0.0.1:{place.engine}"
    flags = [
        "--policy",
        "round_robin",
        "--prometheus-host",
        "127.0.0.1",
        "--prometheus-port",
        str(place.port + 1),
        "--log-level",
        "warning",
    ]
    return Peer(Command([program, "--host", "127.0.0.1", "--port", str(place.port), "--worker-urls", engine, *flags]))


LITELLM = """\
model_list:
  - model_name: mock-vl
    litellm_params: {{model: openai/mock-vl, api_base: "http://127.0.0.1:{engine}/v1", api_key: unused}}
litellm_settings:
  {{set_verbose: false, json_logs: false, callbacks: [], cache: true,
    cache_params: {{type: redis, host: 127.0.0.1, port: {redis}, ttl: 600}}}}
general_settings: {{disable_spend_logs: true}}
"""


def litellm(place: Place) -> Peer:
    """Answers kept in Redis, a master key (it does not start without one), spend logs off."""
    file, key = place.folder / "litellm.yaml", f"sk-{secrets.token_hex(32)}"
    file.write_text(LITELLM.format(engine=place.engine, redis=place.redis), encoding="utf-8")
    flags = ["--host", "127.0.0.1", "--port", str(place.port), "--num_workers", "1", "--telemetry", "False"]
    environ = {"LITELLM_MASTER_KEY": key, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR", "NO_PROXY": "127.0.0.1,localhost"}
    command = Command([str(place.venv / "bin/litellm"), "--config", str(file), *flags], environ)
    return Peer(command, caches=True, headers={"Authorization": f"Bearer {key}"})


def redis(port: int, folder: Path) -> Command:
    flags = ["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--dir", str(folder), "--daemonize", "no"]
    return Command(["redis-server", "--port", str(port), *flags])


PEERS: dict[str, Callable[[Place], Peer]] = {
    "relay": relay,
    "bare": bare,
    "nginx": nginx,
    "vllm-router": vllm_router,
    "litellm": litellm,
    "sightline-resend": sightline_resend,
    "sightline-nocache": sightline_nocache,
    "sightline-plain": sightline_plain,
}
FROM_VENV = frozenset({"vllm-router", "litellm"})
FORGETFUL = frozenset({"sightline-resend"})
