"""`sightline up`: engine and gateway with one command, and both gone when it ends.

The gateway is a process of its own, so that its memory settings, its event loop and its end are its alone. Both hang below keepers
(`engines.keeper`): however this process ends, nothing of them stays behind.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Annotated

import aiohttp
import typer

from sightline.cli import tour
from sightline.cli.deploying import next_steps
from sightline.cli.engine import Cpu, Flags, Gpu, Lora, Model, Pictures, Quantization, TorchIndex, Wanted, installed, serving
from sightline.engines.launch import Engine, EngineFailed, Kept
from sightline.engines.spec import EngineSpec
from sightline.http import server
from sightline.settings import Settings, load

_POLL = 0.1


def up(
    flags: Flags = None,
    *,
    model: Model = None,
    quantization: Quantization = None,
    lora: Lora = None,
    images: Pictures = 16,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: 8080.")] = None,
    store: Annotated[str | None, typer.Option(help="memory:// or redis://HOST:PORT/DB. Default: memory://.")] = None,
    keys_file: Annotated[Path | None, typer.Option(help="Callers' keys, as `sightline keys new` writes them.")] = None,
    open: Annotated[bool, typer.Option("--open", help="Serve other hosts without keys.")] = False,  # noqa: A002 - the flag's name
    config: Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")] = None,
    ask: Annotated[bool, typer.Option("--ask", help="Ask about a sample picture first, and show what it took.")] = False,
    cpu: Cpu = False,
    gpu: Gpu = False,
    torch_index: TorchIndex = None,
) -> None:
    """Serve a model: install vLLM if need be, start it, and start the gateway in front of it."""
    given = {"host": host, "port": port, "store": store, "keys_file": keys_file, "open": open or None}
    settings = load(config, flags=given)
    server.bind(settings.host, settings.port).close()  # a port that is taken is better known now than in a minute
    wanted = Wanted(model, quantization, tuple(lora or ()), images, tuple(flags or ()), cpu, gpu, torch_index)
    kind = wanted.kind()
    spec = wanted.spec(kind)
    installed(kind, torch_index)
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None and name != "open"]
    options += ["--open"] if open else []
    options += [f"--config={config}"] if config else []
    sys.exit(asyncio.run(_Up(spec, settings, options, ask=ask).run()))


class _Up:
    def __init__(self, spec: EngineSpec, settings: Settings, options: list[str], *, ask: bool) -> None:
        self._spec = spec
        self._settings = settings
        self._options = options
        self._ask = ask
        self._stop = asyncio.Event()
        self._gateway: Kept | None = None

    async def run(self) -> int:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, self._asked_to_stop)
        try:
            async with serving(self._spec, self._stop) as engine:
                return 0 if engine is None else await self._serve(engine)
        except EngineFailed as error:
            typer.echo(f"sightline: {error}", err=True)
            return 1

    async def _serve(self, engine: Engine) -> int:
        """The gateway, from its start to its end; it is drained before the engine goes."""
        drain = self._settings.timeouts.drain
        environment = {name: value for name, value in os.environ.items() if not name.startswith("SIGHTLINE_ENGINE_KEY")}
        environment["SIGHTLINE_ENGINE_KEY"] = engine.key
        command = [sys.executable, "-P", "-m", "sightline", "serve", f"--engine={engine.url}", *self._options]
        self._gateway = Kept(command, environment, grace=drain + 5)
        await self._gateway.start()
        ended, stopped = asyncio.create_task(self._gateway.wait()), asyncio.create_task(self._stop.wait())
        try:
            introduction = asyncio.create_task(self._introduce(engine))
            try:
                await asyncio.wait([ended, stopped], return_when=asyncio.FIRST_COMPLETED)
            finally:
                introduction.cancel()
                await asyncio.gather(introduction, return_exceptions=True)
            if stopped.done():
                await self._gateway.stop()
                return 0
            typer.echo(f"sightline: the gateway ended with status {ended.result()}; the reason stands above", err=True)
            return 1
        finally:
            await self._gateway.stop()
            for task in (ended, stopped):
                task.cancel()
            await asyncio.gather(ended, stopped, return_exceptions=True)

    async def _introduce(self, engine: Engine) -> None:
        """Says where it serves, once it does."""
        url = self._address()
        async with aiohttp.ClientSession(trust_env=False) as session:
            while not await _answers(session, f"{url}/health/ready"):  # noqa: ASYNC110 - another process has no events
                await asyncio.sleep(_POLL)
            if self._ask and self._gateway is not None:
                try:
                    await tour.tour(session, url, self._spec, engine.pid, self._gateway.pid)
                except (tour.NoAnswer, aiohttp.ClientError, TimeoutError) as error:
                    typer.echo(f"sightline: the sample question was not answered: {error or type(error).__name__}", err=True)
        typer.echo(f"\nsightline: serving {self._spec.name} at {url}/v1 · docs at {url}/docs · Ctrl-C ends it")
        typer.echo(next_steps(self._spec.kind))

    def _address(self) -> str:
        host = self._settings.host
        host = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - asked from here
        return f"http://{f'[{host}]' if ':' in host else host}:{self._settings.port}"

    def _asked_to_stop(self) -> None:
        if self._stop.is_set() and self._gateway is not None:
            self._gateway.signal(signal.SIGTERM)  # asked twice: at once
        self._stop.set()


async def _answers(session: aiohttp.ClientSession, url: str) -> bool:
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False
