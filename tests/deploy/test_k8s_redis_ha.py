"""Three Redis and their Sentinels, by the component's own scripts: one is primary, another takes its place, who was away follows."""

import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from tests.deploy.manifests import K8S, Object, rendered, the
from tests.fakes.engine import FakeEngine
from tests.serving import GatewayProcess, environment, eventually, free_port, ready
from tests.shapes import ask

FOLDER = K8S / "components/redis-ha"
PASSWORD = "the-stores-own"
EVERY = range(3)
ONCE = Retry(NoBackoff(), 0)


class Pods:
    """The StatefulSet's containers, each a process of its own, on ports of 127.0.0.1."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "redis-password").write_text(PASSWORD, encoding="utf-8")
        self.ports = {script: [free_port() for _ in EVERY] for script in ("redis", "sentinel")}
        self._running: dict[tuple[str, int], subprocess.Popen[bytes]] = {}

    def start(self, script: str, number: int) -> None:
        work = self.folder / f"{script}-{number}"
        work.mkdir(exist_ok=True)
        given = {
            "SELF": f"127.0.0.1:{self.ports[script][number]}",
            "FIRST": f"127.0.0.1:{self.ports['redis'][0]}",
            "SENTINELS": " ".join(f"127.0.0.1:{port}" for port in self.ports["sentinel"]),
            "SECRETS": str(self.folder),
            "WORK": str(work),
            "MAXMEMORY": "64mb",
            "DOWN_AFTER": "500",
            "PATH": os.environ["PATH"],
        }
        with (work / "log").open("ab") as log:
            self._running[script, number] = subprocess.Popen(["sh", FOLDER / f"{script}.sh"], env=given, stdout=log, stderr=log, cwd=work)

    def kill(self, script: str, number: int) -> None:
        process = self._running.pop((script, number))
        process.kill()
        process.wait(10)

    def end(self) -> None:
        for script, number in list(self._running):
            self.kill(script, number)

    def ask(self, script: str, number: int, *words: str) -> Any:
        """What it answers, or nothing while it does not."""
        password = PASSWORD if script == "redis" else None
        port = self.ports[script][number]
        with redis.Redis("127.0.0.1", port, password=password, socket_timeout=2, decode_responses=True, retry=ONCE) as client:
            try:
                return client.execute_command(*words)
            except redis.RedisError:
                return None

    def primaries(self) -> list[int]:
        return [number for number in EVERY if (self.ask("redis", number, "role") or [""])[0] == "master"]

    def followers(self) -> list[int]:
        """Those that have all that their primary has."""
        return [number for number in EVERY if (self.ask("redis", number, "role") or [])[3:4] == ["connected"]]

    def agreed(self) -> bool:
        """Whether all Sentinels name the one primary that there is, and count each other."""
        known = [self.ask("sentinel", number, "sentinel", "get-master-addr-by-name", "sightline") for number in EVERY]
        masters = [self.ask("sentinel", number, "info", "sentinel") for number in EVERY]
        primaries = [["127.0.0.1", str(self.ports["redis"][number])] for number in self.primaries()]
        return len(primaries) == 1 and known == primaries * 3 and all(found["master0"]["sentinels"] == 3 for found in masters)


@pytest.fixture(scope="module")
def pods(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pods]:
    pods = Pods(tmp_path_factory.mktemp("pods"))
    try:
        for number in EVERY:
            pods.start("redis", number)
        eventually(lambda: pods.followers() == [1, 2], 20, "two followers of the first")
        for number in EVERY:
            pods.start("sentinel", number)
        yield pods
    finally:
        pods.end()


def test_the_first_one_begins_and_another_takes_its_place(pods: Pods) -> None:
    """With all that was kept, and a gateway that knows the Sentinels goes on there; the first one comes back as a follower."""
    eventually(pods.agreed, 20, "Sentinels that agree")
    assert pods.primaries() == [0]
    store = f"redis+sentinel://:{PASSWORD}@{','.join(f'127.0.0.1:{port}' for port in pods.ports['sentinel'])}/sightline/0"
    with FakeEngine() as engine, GatewayProcess(engine.url, environ=environment(store=store)) as gateway:
        ready(gateway)
        eventually(lambda: gateway.chat(ask("one?")).headers["x-cache"] == "HIT", 10, "a hit")
        kept = pods.ask("redis", 0, "dbsize")

        pods.kill("redis", 0)
        pods.kill("sentinel", 0)
        eventually(lambda: pods.primaries() in ([1], [2]), 20, "another primary")
        (primary,) = pods.primaries()
        assert pods.ask("redis", primary, "dbsize") >= kept > 0
        eventually(lambda: gateway.chat(ask("one?")).headers["x-cache"] == "HIT", 20, "a hit")

    pods.start("redis", 0)
    pods.start("sentinel", 0)
    eventually(lambda: len(pods.followers()) == 2, 20, "the first one as a follower")
    eventually(pods.agreed, 20, "Sentinels that agree")
    assert pods.primaries() == [primary]
    assert pods.ask("redis", 0, "dbsize") >= kept
    began = re.findall(r"^redis: \S+ behind (\S+)$", (pods.folder / "redis-0/log").read_text(encoding="utf-8"), re.MULTILINE)
    assert began == [f"127.0.0.1:{pods.ports['redis'][number]}" for number in (0, primary)]  # it asked before it began


def test_the_settings_are_those_of_a_cache(pods: Pods) -> None:
    """Nothing on disk, the least used goes first, a password for callers and for followers."""
    wanted = {"save": "", "appendonly": "no", "maxmemory-policy": "allkeys-lru", "maxmemory": str(64 * 2**20), "masterauth": PASSWORD}

    assert {name: pods.ask("redis", 1, "config", "get", name)[name] for name in wanted} == wanted


def test_the_manifest_gives_the_scripts_what_they_ask_for() -> None:
    spec = the(rendered("redis-ha"), "StatefulSet", "sightline-redis-ha")["spec"]
    for container in spec["template"]["spec"]["containers"]:
        script = (FOLDER / container["command"][1].rpartition("/")[2]).read_text(encoding="utf-8")
        given = {variable["name"]: variable.get("value", "") for variable in container["env"]}
        asked = {name for name in ("SELF", "FIRST", "SENTINELS", "SECRETS", "WORK") if f"${name}" in script or f"${{{name}" in script}
        assert asked <= given.keys(), container["name"]
        assert given["SELF"] == f"$(POD).{address(spec, container)}"
        if container["name"] == "sentinel":
            assert given["SENTINELS"].split() == [f"sightline-redis-ha-{number}.{address(spec, container)}" for number in EVERY]
        else:
            assert given["FIRST"] == f"sightline-redis-ha-0.{address(spec, container)}"


def address(spec: Object, container: Object) -> str:
    return f"{spec['serviceName']}:{container['ports'][0]['containerPort']}"
