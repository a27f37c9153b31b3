"""What a run needs on this machine, made once and kept: the two C programs, the request bodies, the peers' own environment."""

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from loadtests.bench import bodies
from loadtests.bench.programs import Invalid

HERE = Path(__file__).resolve().parent
PINS = HERE / "peers.txt"


def home() -> Path:
    """`$BENCH_HOME`, else a folder in the user's cache."""
    return Path(os.environ.get("BENCH_HOME") or Path.home() / ".cache/sightline/bench")


@dataclass(frozen=True, slots=True)
class Tools:
    home: Path

    @property
    def mock(self) -> Path:
        return self.home / "mock"

    @property
    def lg(self) -> Path:
        return self.home / "lg"

    @property
    def venv(self) -> Path:
        return self.home / "venv"

    def bodies(self, workload: str) -> list[Path]:
        """The request bodies of a workload: one, or one a picture."""
        folder = self.home / "bodies"
        return sorted((folder / workload).glob("*.json")) if (folder / workload).is_dir() else [folder / f"{workload}.json"]

    def folder(self, name: str) -> Path:
        """A program's own, for what it writes."""
        path = self.home / "run" / name
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir(parents=True)
        return path


def prepare(*, peers: bool) -> Tools:
    """Makes what is missing. `peers`: also installs LiteLLM and vllm-router (about a minute, once). Raises Invalid."""
    for program in ("cc", "redis-server"):
        if shutil.which(program) is None:
            raise Invalid(f"{program} is missing: `make programs`, or a C compiler from your distribution.")
    tools = Tools(home())
    tools.home.mkdir(parents=True, exist_ok=True)
    for name in ("mock", "lg"):
        source, built = HERE / f"{name}.c", tools.home / name
        if _older(built, source):
            _run(["cc", "-O2", "-Wall", "-Wextra", "-o", str(built), str(source)], f"{name}.c does not compile")
    if _older(tools.home / "bodies/sse.json", HERE / "bodies.py"):
        print(f"drawing the pictures into {tools.home / 'bodies'}", file=sys.stderr)
        bodies.draw(tools.home / "bodies")
    if peers:
        _install(tools.venv)
    return tools


def _install(venv: Path) -> None:
    stamp, wanted = venv / "stamp", hashlib.sha256(PINS.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text(encoding="ascii") == wanted:
        return
    print(f"installing LiteLLM and vllm-router into {venv} (about a minute)", file=sys.stderr)
    shutil.rmtree(venv, ignore_errors=True)
    _run([sys.executable, "-m", "venv", str(venv)], "no environment for the peers could be made")
    _run([str(venv / "bin/pip"), "install", "--quiet", "--disable-pip-version-check", "-r", str(PINS)], "the peers could not be installed")
    stamp.write_text(wanted, encoding="ascii")


def _older(built: Path, source: Path) -> bool:
    return not built.exists() or built.stat().st_mtime < source.stat().st_mtime


def _run(command: list[str], failed: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Invalid(f"{failed}: {(done.stderr or done.stdout).strip()[-500:]}")
