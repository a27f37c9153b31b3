"""The process that listens: uvicorn, and a drain that a load balancer can follow.

On the first SIGTERM readiness turns 503 while the listener stays open for GRACE (so that a balancer sees it and sends nobody more;
answers say `connection: close`); then the listener closes and what is under way may take the rest of the drain window. The second
ends it all at once.
One process: with several workers uvicorn goes on accepting while it drains (measured), so we scale by replicas.
"""

import gc
import os
import socket
import time
from types import FrameType

import structlog
import uvicorn

from sightline.http.chat import Chat
from sightline.http.connections import Connections
from sightline.http.middleware import Edge, Lifecycle
from sightline.http.protocol import protocol
from sightline.settings import Settings, SettingsError
from sightline.telemetry.metrics import Metrics

_log = structlog.get_logger()

GRACE = 1.0
_BACKLOG = 2048


class Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, lifecycle: Lifecycle, drain: float) -> None:
        super().__init__(config)
        self._lifecycle = lifecycle
        self._grace = min(GRACE, drain)
        self._since = 0.0

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:  # noqa: ARG002 - a signal handler's signature
        """First signal: drain. Second: out. The signal is not raised again afterwards, so a drained process exits with 0."""
        if self._lifecycle.draining:
            os._exit(1)
        self._lifecycle.draining = True
        self._lifecycle.drain_started = time.time()
        self._since = time.monotonic()
        _log.info("gateway.draining", in_flight=self._lifecycle.requests)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """What has been imported and built by now stays: the collector need not look at it again, nor come after every 700 objects."""
        await super().startup(sockets)
        gc.collect()
        gc.freeze()
        gc.set_threshold(20_000, 20, 50)

    async def on_tick(self, counter: int) -> bool:
        if self._lifecycle.draining and time.monotonic() - self._since >= self._grace:
            return True
        return await super().on_tick(counter)


def bind(host: str, port: int) -> socket.socket:
    """The listening socket; SettingsError in one line when the address cannot be had."""
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        return socket.create_server(address[:2], family=family, backlog=_BACKLOG, reuse_port=False)
    except (OSError, OverflowError) as error:
        number = error.errno if isinstance(error, OSError) and not isinstance(error, socket.gaierror) else None
        reason = os.strerror(number) if number else str(error)
        raise SettingsError(f"port: cannot listen on {host}:{port} ({reason}); choose another with --port") from None


def run(edge: Edge, chat: Chat, lifecycle: Lifecycle, settings: Settings, metrics: Metrics, listener: socket.socket) -> None:
    """Serves until it is told to stop and has drained."""
    drain = settings.timeouts.drain
    connections = Connections(settings.limits.connections, settings.trusted_proxies, metrics)
    config = uvicorn.Config(
        edge,
        http=protocol(chat, lifecycle, settings, connections),
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=settings.timeouts.keep_alive,  # type: ignore[arg-type]  # it is handed to call_later
        timeout_graceful_shutdown=max(drain - min(GRACE, drain), 0.01),  # type: ignore[arg-type]  # it is handed to wait_for
    )
    Server(config, lifecycle, drain).run(sockets=[listener])


def address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
