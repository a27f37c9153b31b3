"""What a run stands on, started here and ended with it: an engine (a mock, or real vLLM with the demo model), Redis, `sightline serve`.

Before a mock, the gateway has core 1 for itself. Before a real engine, the engine has it, and the gateway shares the other.
"""

import contextlib
import json
import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from loadtests.bench import peers, tools
from loadtests.bench.programs import GATEWAY, HARNESS, Command, Invalid, Program, ask, free_port, wait_ready

MOCK_DELAY_US, MOCK_TOKENS, MOCK_INTERVAL_US = 20_000, 64, 5_000


@dataclass(frozen=True, slots=True)
class Rig:
    """`engine` and `redis` are ports on the loopback; `key` is the caller's."""

    gateway: Program
    port: int
    key: str
    engine: int
    redis: int
    kit: tools.Tools
    engine_name: str

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


@contextlib.contextmanager
def standing(
    name: str, *, real: bool = False, delay_us: int = MOCK_DELAY_US, interval_us: int = MOCK_INTERVAL_US, **settings: str
) -> Iterator[Rig]:
    """`settings` are the gateway's: CACHE__TTL="60". Raises Invalid."""
    if (os.cpu_count() or 1) < 2:
        raise Invalid("two CPUs are needed: one for what is measured, one for everything else.")
    kit = tools.prepare(peers=False)
    logs, engine, redis, key = kit.home / "logs", free_port(), free_port(), secrets.token_hex(16)
    with contextlib.ExitStack() as stack:
        if real:
            command = Command(
                [sys.executable, "-m", "sightline", "engine", "run", "--cpu", "--port", str(engine)], {"SIGHTLINE_ENGINE_KEY": key}
            )
            settings |= {"ENGINE_KEY": key}
        else:
            timing = ["--delay-us", str(delay_us), "--tokens", str(MOCK_TOKENS), "--interval-us", str(interval_us)]
            command = Command([str(kit.mock), "--port", str(engine), *timing])
        program = stack.enter_context(Program("engine", command, GATEWAY if real else HARNESS, logs / f"{name}-engine.log"))
        wait_ready(program, engine, "/health", seconds=300 if real else 10)
        mock = f"a mock engine ({delay_us / 1e3:g} ms, then {MOCK_TOKENS} tokens, one every {interval_us / 1e3:g} ms)"
        engine_name = f"vLLM {_version(engine)} with the demo model on one core" if real else mock
        stack.enter_context(Program("redis", peers.redis(redis, kit.folder(f"{name}-redis")), HARNESS, logs / f"{name}-redis.log"))
        place = peers.Place(free_port(), engine, redis, 0, kit.folder(name), kit.venv)
        ours = peers.sightline(place, **settings)
        gateway = stack.enter_context(Program("sightline", ours.command, HARNESS if real else GATEWAY, logs / f"{name}.log"))
        wait_ready(gateway, place.port, "/health/ready")
        gateway.pin()
        yield Rig(gateway, place.port, ours.headers["Authorization"].removeprefix("Bearer "), engine, redis, kit, engine_name)


def _version(engine: int) -> str:
    version: str = json.loads(ask(engine, "/version")[1])["version"]
    return version
