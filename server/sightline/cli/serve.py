"""`sightline serve`: the gateway alone."""

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sightline.settings import Settings, SettingsError, load

if TYPE_CHECKING:
    from sightline.telemetry.metrics import Metrics

# Bodies above 128 KB make glibc map and unmap memory for each request: reading 1 MB costs 1510 µs of CPU without these, 237 with them.
MALLOC = {"MALLOC_MMAP_THRESHOLD_": "1073741824", "MALLOC_TRIM_THRESHOLD_": "268435456", "MALLOC_TOP_PAD_": "67108864"}

ConfigFile = Annotated[Path | None, typer.Option("--config", help="A YAML file of settings.")]


def serve(
    *,
    engine: Annotated[list[str] | None, typer.Option(help="URL of an engine; may be repeated.")] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on. Default: 127.0.0.1.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on. Default: 8080.")] = None,
    store: Annotated[str | None, typer.Option(help="memory:// or redis://HOST:PORT/DB. Default: memory://.")] = None,
    metrics_port: Annotated[int | None, typer.Option(help="A port of its own for /metrics.")] = None,
    keys_file: Annotated[Path | None, typer.Option(help="Callers' keys, as `sightline keys new` writes them.")] = None,
    open: Annotated[bool | None, typer.Option("--open", help="Serve other hosts without keys.")] = None,  # noqa: A002 - the flag's name
    config: ConfigFile = None,
) -> None:
    """Serve the gateway in front of engines that run already."""
    flags: dict[str, Any] = {
        "engines": tuple(engine) if engine else None,
        "host": host,
        "port": port,
        "store": store,
        "metrics_port": metrics_port,
        "keys_file": keys_file,
        "open": open,
    }
    settings = load(config, flags=flags)
    keep_memory()
    run(settings)


def keep_memory() -> None:
    """Starts this process anew with malloc told to keep its memory; only the environment can tell it before it has begun."""
    if sys.platform == "linux" and not any(name in os.environ for name in MALLOC):
        os.execve(  # noqa: S606 - our own interpreter and arguments
            sys.executable, [sys.executable, *_interpreter_flags(), "-m", "sightline", *sys.argv[1:]], os.environ | MALLOC
        )


def _interpreter_flags() -> list[str]:
    return [f"-W{option}" for option in sys.warnoptions]


def run(settings: Settings) -> None:
    """Listens, serves and drains. Raises SettingsError before it has begun."""
    # Here, so that the other commands start in a third of the time.
    import structlog

    from sightline.app import create_app
    from sightline.http import server
    from sightline.http.middleware import Lifecycle
    from sightline.telemetry import logs
    from sightline.telemetry.metrics import Metrics

    metrics, lifecycle = Metrics(), Lifecycle()
    edge, chat = create_app(settings, metrics, lifecycle)
    listener = server.bind(settings.host, settings.port)
    operators = _operators(settings, metrics)
    sink = logs.configure(settings.log_level, settings.log_format, dropped=metrics.log_lines_dropped.inc)
    log = structlog.get_logger()
    if not settings.engines:
        log.warning("gateway.no_engines", fix="name one with --engine URL or SIGHTLINE_ENGINES")
    log.info("gateway.listening", url=server.address(listener), engines=settings.engines, keys=settings.keys_file is not None)
    try:
        server.run(edge, chat, lifecycle, settings, metrics, listener)
    finally:
        if operators is not None:
            operators[0].shutdown()
            operators[0].server_close()
        log.info("gateway.stopped")
        sink.close()


def _operators(settings: Settings, metrics: "Metrics") -> Any:
    """What serves `/metrics` on a port of its own, if they have one."""
    from prometheus_client import start_http_server

    if settings.metrics_port is None:
        return None
    try:
        return start_http_server(settings.metrics_port, settings.host, metrics.registry)
    except OSError as error:
        where = f"{settings.host}:{settings.metrics_port}"
        raise SettingsError(f"metrics_port: cannot listen on {where} ({error.strerror}); choose another with --metrics-port") from None
