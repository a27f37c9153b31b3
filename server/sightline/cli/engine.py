"""`sightline engine install | run`: vLLM in an environment of its own, and one such server without a gateway."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sightline.cli.progress import Progress
from sightline.engines import install as installing
from sightline.engines.install import InstallFailed, Kind
from sightline.engines.launch import Engine, EngineFailed, State
from sightline.engines.spec import Adapter, EngineSpec, choose
from sightline.settings import SettingsError, is_loopback, load

app = typer.Typer(no_args_is_help=True, help="Install and run the engine (vLLM).")

Cpu = Annotated[bool, typer.Option("--cpu", help="vLLM's CPU build, though there is a GPU.")]
Gpu = Annotated[bool, typer.Option("--gpu", help="vLLM for NVIDIA GPUs, though none is seen here.")]
Model = Annotated[str | None, typer.Option("--model", help="A folder or a Hugging Face name. Default: what this machine can serve.")]
Quantization = Annotated[str | None, typer.Option("--quantization", help="For example awq; checkpoints usually say it themselves.")]
Lora = Annotated[list[str] | None, typer.Option("--lora", help="NAME=PATH of a LoRA adapter; may be repeated.")]
Pictures = Annotated[int, typer.Option("--images", min=0, help="Most pictures in one request.")]
TorchIndex = Annotated[
    str | None, typer.Option("--torch-index", envvar="SIGHTLINE_TORCH_INDEX", help="Index or folder with torch's CPU build.")
]
Flags = Annotated[list[str] | None, typer.Argument(metavar="-- VLLM FLAGS", help="More flags of `vllm serve`, after `--`.")]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    model: str | None = None
    quantization: str | None = None
    lora: tuple[str, ...] = ()
    images: int = 16
    flags: tuple[str, ...] = ()
    cpu: bool = False
    gpu: bool = False
    torch_index: str | None = None

    def kind(self) -> Kind:
        if self.cpu and self.gpu:
            raise SettingsError("--cpu and --gpu: choose one")
        if self.cpu or self.gpu:
            return "cpu" if self.cpu else "gpu"
        return "gpu" if installing.gpu_found() else "cpu"

    def spec(self, kind: Kind) -> EngineSpec:
        try:
            adapters = tuple(Adapter.parse(text) for text in self.lora)
            return choose(
                installing.environment(kind), kind, self.model,
                quantization=self.quantization, adapters=adapters, images=self.images, extra=self.flags,
            )  # fmt: skip
        except ValueError as error:
            raise SettingsError(str(error)) from None


@app.command("install")
def install(*, cpu: Cpu = False, gpu: Gpu = False, torch_index: TorchIndex = None) -> None:
    """Install vLLM into an environment of its own. Does nothing if it is there, and goes on where it was cut off."""
    typer.echo(installed(Wanted(cpu=cpu, gpu=gpu, torch_index=torch_index).kind(), torch_index))


@app.command("run")
def run(
    flags: Flags = None,
    *,
    model: Model = None,
    quantization: Quantization = None,
    lora: Lora = None,
    images: Pictures = 16,
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 only in a network of its own, and with a key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Its port. Default: a free one.", show_default=False)] = 0,
    cpu: Cpu = False,
    gpu: Gpu = False,
    torch_index: TorchIndex = None,
) -> None:
    """Run one engine, installed first if need be, and keep it running. Its key is SIGHTLINE_ENGINE_KEY if that is set, else a new one."""
    secret = load(flags={"host": "127.0.0.1"}).engine_key  # what stands there of the gateway's address is none of ours
    key = secret.get_secret_value() if secret else None
    if not key and not is_loopback(host):
        raise SettingsError(f"engine_key: {host} can be reached by others; set SIGHTLINE_ENGINE_KEY (or …_FILE) here and at the gateway")
    wanted = Wanted(model, quantization, tuple(lora or ()), images, tuple(flags or ()), cpu, gpu, torch_index)
    kind = wanted.kind()
    spec = wanted.spec(kind)
    installed(kind, torch_index)
    sys.exit(asyncio.run(_run(spec, host, port, key)))


def installed(kind: Kind, torch_index: str | None) -> Path:
    """The environment's folder; shows what goes on and ends the process if it cannot be installed."""
    with Progress() as progress:
        try:
            fresh = not installing.is_complete(kind, installing.environment(kind))
            target = installing.install(kind, torch_index=torch_index, report=lambda line: progress.step(f"engine: {line}"))
            if fresh:
                progress.note(f"engine: vLLM {installing.VERSION} ({kind}) installed in {target}")
        except InstallFailed as error:
            progress.note(f"sightline: {error}")
            sys.exit(1)
        except KeyboardInterrupt:
            progress.note("sightline: stopped; the same command goes on where it was")
            sys.exit(130)
        return target


def introduced(spec: EngineSpec) -> str:
    """One line about what is served, and why."""
    if spec.is_demo:
        why = "" if installing.gpu_found() else "no GPU here, so "
        return f"engine: {why}vLLM's CPU build serves the bundled demo model ({spec.name}: it reads synthetic nameplates, nothing else)"
    return f"engine: vLLM {installing.VERSION} ({spec.kind}) serves {spec.name}"


@contextlib.asynccontextmanager
async def serving(
    spec: EngineSpec, stop: asyncio.Event, *, host: str = "127.0.0.1", port: int = 0, key: str | None = None
) -> AsyncIterator[Engine | None]:
    """The engine, once it is ready; None if `stop` was set before. Raises EngineFailed. Says each change on standard error."""
    with Progress() as progress:
        progress.note(introduced(spec))
        progress.step("engine: starting (about a minute)")
        log = installing.home() / "logs" / f"engine-{os.getpid()}.log"

        def changed(state: State, line: str) -> None:
            if state is not State.STARTING or engine.restarts:
                progress.note(line)

        engine = Engine(spec, log=log, host=host, port=port, key=key, on_change=changed)
        async with engine:
            ready, stopped = asyncio.create_task(engine.ready()), asyncio.create_task(stop.wait())
            try:
                while not ready.done() and not stopped.done():
                    await asyncio.wait([ready, stopped], timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
                    progress.tick()
                if ready.done():
                    ready.result()
                yield engine if ready.done() else None
            finally:
                for task in (ready, stopped):
                    task.cancel()
                await asyncio.gather(ready, stopped, return_exceptions=True)


def on_signals(stop: asyncio.Event) -> None:
    """Ctrl-C and SIGTERM set `stop` instead of ending the process in the middle of something."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _run(spec: EngineSpec, host: str, port: int, key: str | None) -> int:
    stop = asyncio.Event()
    on_signals(stop)
    try:
        async with serving(spec, stop, host=host, port=port, key=key) as engine:
            if engine is not None:
                typer.echo(engine.url)
                if not key:
                    typer.echo(f"SIGHTLINE_ENGINE_KEY={engine.key}")
                await stop.wait()
    except EngineFailed as error:
        typer.echo(f"sightline: {error}", err=True)
        return 1
    return 0
