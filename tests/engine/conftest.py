"""One real vLLM a session: `sightline engine run` with the bundled demo model and one adapter, as a user would start it."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from tests.adapter import ADAPTER, write_adapter
from tests.real_engine import START, RealEngine, alive
from tests.serving import eventually

from sightline import demo
from sightline.engines import processes
from sightline.engines.spec import DEMO_NAME


@pytest.fixture(scope="session")
def installed() -> None:
    """The engine's environment: made by the command that users have, which does nothing when it is there."""
    subprocess.run([sys.executable, "-m", "sightline", "engine", "install", "--cpu"], check=True, timeout=580)


@pytest.fixture(scope="session")
def engine(installed: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealEngine]:
    folder = tmp_path_factory.mktemp("engine")
    key = secrets.token_hex(16)
    command = [sys.executable, "-m", "sightline", "engine", "run", "--cpu", "--model", str(demo.model_path())]
    command += ["--lora", f"{ADAPTER}={write_adapter(folder / ADAPTER)}"]
    log, out = folder / "log", folder / "out"
    with log.open("wb") as stderr, out.open("wb") as stdout:
        process = subprocess.Popen(command, stdout=stdout, stderr=stderr, env=os.environ | {"SIGHTLINE_ENGINE_KEY": key})
    try:
        eventually(lambda: out.read_bytes().endswith(b"\n") or process.poll() is not None, START, "the engine's start")
        assert process.poll() is None, log.read_text()
        url = out.read_text().split()[0]
        # A connection each: vLLM closes idle ones after 5 s, at the very moment a kept one may be used again.
        single, headers = httpx.Limits(max_keepalive_connections=0), {"Authorization": f"Bearer {key}"}
        with httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False, limits=single) as client:
            yield RealEngine(url, key, DEMO_NAME, ADAPTER, process.pid, log, client)
        left = processes.below(process.pid)
        process.terminate()
        assert process.wait(30) == 0
        assert alive(left) == []
    finally:
        process.kill()
        process.wait()
