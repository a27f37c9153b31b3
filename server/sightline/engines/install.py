"""Puts real vLLM into a Python environment of its own, since it pins half the world: `~/.cache/sightline/engines/<cpu|gpu>-0.32.0`.

What goes in stands in `environment/`, beside this file: what is asked for, every version, and the fixes that the CPU build needs.
A digest of all that is written into the environment last of all, so a start sees at once whether it is complete; an installation
that was cut off goes on where it stopped. Downloads are uv's and are kept in its cache.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal

from sightline.engines import sources

VERSION = "0.32.0"
Kind = Literal["cpu", "gpu"]
Report = Callable[[str], None]

_STAMP = ".sightline-complete"
_RECIPE = "1"  # part of the digest: change it when the steps below change
_SPACE = {"cpu": 4 * 2**30, "gpu": 16 * 2**30}  # bytes: the environment and uv's cache of it (2.1 GB of files on a CPU)
_FIXES = {"cpu": ("sightline_torchvision.py",), "gpu": ()}
_INPUTS = {"cpu": ("cpu.txt", "cpu-pins.txt", "cpu-overrides.txt", *_FIXES["cpu"]), "gpu": ("gpu.txt", "gpu-pins.txt")}
_UV = "uv>=0.8,<1"
_STEP = re.compile(r"(Resolved|Prepared|Installed|Building|Downloading torch) ")  # of uv's 50 downloads only the largest is news
_BLAME = re.compile(r"^(error\b|×)", re.IGNORECASE)  # how uv begins to say what is wrong; the rest of its output goes on about it


class InstallFailed(Exception):
    """Two lines: what failed, and what to do."""


def home(environ: Mapping[str, str] = os.environ) -> Path:
    """The folder of all that Sightline installs and logs: `SIGHTLINE_HOME`, else `sightline` in the user's cache."""
    if named := environ.get("SIGHTLINE_HOME"):
        return Path(named).expanduser()
    return Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sightline"


def environment(kind: Kind, base: Path | None = None) -> Path:
    return (base or home()) / "engines" / f"{kind}-{VERSION}"


def gpu_found(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether an NVIDIA GPU can be used here (its driver's own tool lists one, and it is not hidden)."""
    if environ.get("CUDA_VISIBLE_DEVICES", "unset") in ("", "-1"):
        return False
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return False
    try:
        listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=20, check=False)  # noqa: S603 - found on PATH
    except (OSError, subprocess.TimeoutExpired):
        return False
    return listed.returncode == 0 and "GPU" in listed.stdout


def digest(kind: Kind) -> str:
    """Of everything that decides what is installed; another digest is another installation."""
    state = hashlib.sha256(f"{_RECIPE} {sys.version_info[:2]} {sysconfig.get_platform()}".encode())
    for name in _INPUTS[kind]:
        state.update(files(__package__).joinpath("environment", name).read_bytes())
    return state.hexdigest()


def is_complete(kind: Kind, target: Path) -> bool:
    try:
        stamp = json.loads((target / _STAMP).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return bool(stamp == {"digest": digest(kind)}) and (target / "bin" / "python").exists() and (target / "bin" / "vllm").exists()


def install(kind: Kind, *, base: Path | None = None, torch_index: str | None = None, report: Report = print) -> Path:
    """The complete environment's folder. Returns at once when there is nothing to do; raises InstallFailed.

    `torch_index` names an index or a folder that has torch's CPU build; without it, pip's configuration is asked and then the index
    of PyTorch itself (uv knows which). `report` is told what is going on, one short line at a time.
    """
    target = environment(kind, base)
    if is_complete(kind, target):
        return target
    if sys.platform != "linux":
        raise InstallFailed("The engine (vLLM) is installed on Linux only.\nServe it elsewhere and name it: sightline serve --engine URL")
    target.parent.mkdir(parents=True, exist_ok=True)
    with _sole(target, report):
        if not is_complete(kind, target):
            _Installation(kind, target, torch_index, report).run()
    return target


def damaged(packages: Path) -> list[str]:
    """The distributions in `packages` that lack a file they list, or have one of another size: what a cut-off leaves behind."""
    found = []
    for record in packages.glob("*.dist-info/RECORD"):
        for line in record.read_text(encoding="utf-8").splitlines():
            path, _, size = line.replace('"', "").rsplit(",", 2) if line.count(",") > 1 else (line, "", "")
            try:
                actual = (packages / path).stat().st_size
            except OSError:
                actual = -1
            if actual < 0 or (size.isdigit() and actual != int(size)):
                found.append(record.parent.name.split("-")[0])
                break
    return sorted(found)


class _Installation:
    """One attempt, under the lock."""

    def __init__(self, kind: Kind, target: Path, torch_index: str | None, report: Report) -> None:
        self._kind: Kind = kind
        self._target = target
        self._torch_index = torch_index
        self._report = report
        self._log = target.parent / f"{target.name}-install.log"
        self._sources = sources.for_uv(sources.configured(), sources.is_there)
        self._python = target / "bin" / "python"

    def run(self) -> None:
        free = shutil.disk_usage(self._target.parent).free
        if free < _SPACE[self._kind] and not self._target.exists():
            raise InstallFailed(
                f"Installing the engine needs {_SPACE[self._kind] / 1e9:.0f} GB and {self._target.parent} has {free / 1e9:.1f} GB free.\n"
                "Make room, or set SIGHTLINE_HOME to a folder on a larger disk."
            )
        self._log.write_text("", encoding="utf-8")
        (self._target / _STAMP).unlink(missing_ok=True)
        uv = self._uv()
        self._packages(uv)
        self._fix()
        if not (self._target / "bin" / "vllm").exists():
            raise self._failed("checking what was installed", "bin/vllm is missing")
        unfinished = self._target / f"{_STAMP}.new"
        unfinished.write_text(json.dumps({"digest": digest(self._kind)}), encoding="utf-8")
        unfinished.replace(self._target / _STAMP)

    def _uv(self) -> str:
        """Makes the environment, if its Python does not run yet, and says which uv fills it: the one on PATH, else one put into it."""
        on_path, own = shutil.which("uv"), self._target / "bin" / "uv"
        found = on_path if on_path and _runs(on_path, "--version") else None
        if not (self._python.exists() and _runs(str(self._python), "-c", "")):
            self._report("making the engine's Python environment")
            shutil.rmtree(self._target, ignore_errors=True)
            make = [found, "venv", "--no-config", "--python", sys.executable] if found else [sys.executable, "-m", "venv"]
            self._call("making the environment", [*make, str(self._target)])
        if found:
            return found
        if not _runs(str(own), "--version"):
            self._report("installing uv, which installs the rest")
            if not _runs(str(self._python), "-m", "pip", "--version"):
                self._call("installing pip", [str(self._python), "-m", "ensurepip"])
            self._call("installing uv", [str(self._python), "-m", "pip", "install", "--quiet", _UV])
        return str(own)

    def _packages(self, uv: str) -> None:
        here = files(__package__).joinpath("environment")
        command = [uv, "pip", "install", "--python", str(self._python)]
        command += ["--requirement", str(here / f"{self._kind}.txt"), "--constraints", str(here / f"{self._kind}-pins.txt")]
        if self._kind == "cpu":
            command += ["--overrides", str(here / "cpu-overrides.txt")]
        for name in damaged(self._site()):
            command += ["--reinstall-package", name]
        given = [option for option in (self._torch_index,) if option]
        attempts = [[*self._sources.options, *_as_source(given)]]
        if self._kind == "cpu" and not given:
            attempts.append([*self._sources.options, "--torch-backend", "cpu"])
        for number, options in enumerate(attempts, 1):
            try:
                self._call("installing vLLM", [*command, *options])
            except InstallFailed:
                if number == len(attempts) or not _lacks_torch(self._log.read_text(encoding="utf-8")):
                    raise
                self._report("torch's CPU build is not where pip looks; asking PyTorch's own index")
            else:
                return

    def _fix(self) -> None:
        if self._kind != "cpu":
            return
        packages = self._site()
        for name in _FIXES["cpu"]:
            shutil.copyfile(str(files(__package__).joinpath("environment", name)), packages / name)
            (packages / name).with_suffix(".pth").write_text(f"import {Path(name).stem}\n", encoding="utf-8")
        # `vllm serve` asks for a distribution named vllm, which the CPU package is not.
        stub = packages / f"vllm-{VERSION}.dist-info"
        stub.mkdir(exist_ok=True)
        (stub / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {VERSION}+cpu\n", encoding="utf-8")
        (stub / "INSTALLER").write_text("sightline\n", encoding="utf-8")
        (stub / "RECORD").write_text("", encoding="utf-8")

    def _site(self) -> Path:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        return self._target / "lib" / version / "site-packages"

    def _call(self, doing: str, command: list[str]) -> None:
        """Runs `command`, its output into the log and its steps to `report`; raises InstallFailed."""
        scrubbed = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
        lines: list[str] = []
        with (
            self._log.open("a", encoding="utf-8") as log,
            subprocess.Popen(  # noqa: S603 - our own command
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                env=scrubbed | dict(self._sources.variables),
            ) as process,
        ):
            log.write(f"$ {doing}\n")
            try:
                for line in process.stdout or ():
                    log.write(line)
                    lines.append(line.strip())
                    if _STEP.match(line.strip()):
                        self._report(line.strip())
            except BaseException:
                process.terminate()
                raise
        if process.returncode:
            raise self._failed(doing, blame(lines))

    def _failed(self, doing: str, reason: str) -> InstallFailed:
        return InstallFailed(f"Failed while {doing}: {reason}\n{advice(self._log.read_text(encoding='utf-8'))} The whole log: {self._log}")


def blame(lines: list[str]) -> str:
    """What an installer's output says went wrong, on one line."""
    starts = [number for number, line in enumerate(lines) if _BLAME.match(line)]
    words = " ".join(lines[starts[-1] :] if starts else lines[-1:]).replace("╰─▶", "").split()
    return textwrap.shorten(" ".join(words), 300, placeholder=" …") or "it said nothing"


def advice(log: str) -> str:
    """What to do about a failed installation, from what its log says."""
    if "No space left" in log:
        return "Make room on the disk (or set SIGHTLINE_HOME to a larger one) and run the same command again."
    if _lacks_torch(log):
        return "Name an index or a folder of wheels that has torch's CPU build with --torch-index (or SIGHTLINE_TORCH_INDEX)."
    if re.search(r"dns error|error sending request|timed out|Failed to fetch|connection (refused|reset)", log, re.IGNORECASE):
        return "Check the network (pip's configuration is used: index, proxy, certificates) and run the same command again: it goes on."
    return "Run the same command again: it goes on where it stopped."


def _lacks_torch(log: str) -> bool:
    return re.search(r"no version of torch(vision)?\b|torch was not found|torch==[\w.+]+ (was not found|cannot be used)", log) is not None


def _as_source(given: list[str]) -> list[str]:
    options: list[str] = []
    for source in given:
        options += ["--find-links", source] if Path(source).is_dir() else ["--index", source, "--index-strategy", "unsafe-best-match"]
    return options


def _runs(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0  # noqa: S603 - our own commands
    except (OSError, subprocess.TimeoutExpired):
        return False


@contextlib.contextmanager
def _sole(target: Path, report: Report) -> Iterator[None]:
    """Holds the environment's lock, so that two installers at once are one that works and one that waits."""
    with (target.parent / f"{target.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            report("another installation is under way: waiting for it")
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    time.sleep(0.2)
                else:
                    break
        yield
