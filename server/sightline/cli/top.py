"""`sightline top`: one gateway's metrics, live in the terminal; a plain line a look where stdout is none."""

import http.client
import io
import json
import os
import select
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import deque
from dataclasses import replace
from types import FrameType
from typing import Annotated, Any, Self

import typer

from sightline.cli.board import make
from sightline.cli.screen import HISTORY, Point, Screen, Trouble, line
from sightline.settings import SettingsError
from sightline.telemetry.readings import Change, NotMetrics, Reading

_WINDOW = 10.0  # seconds that rates and percentiles are taken over: two seconds alone jump about
_PATIENCE = 5.0  # seconds for one look
_LARGEST = 32 * 2**20  # bytes of metrics that are read


def top(
    *,
    url: Annotated[str, typer.Option(help="Where the gateway serves its metrics.")] = "http://127.0.0.1:8080/metrics",
    key: Annotated[str, typer.Option(envvar="SIGHTLINE_API_KEY", help="A bearer token, if something in front of them wants one.")] = "",
    interval: Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between looks.")] = 2.0,
    once: Annotated[bool, typer.Option("--once", help="Look twice, an interval apart, print one snapshot, and leave.")] = False,
) -> None:
    """Watch a gateway: requests, savings, latency, engines, limits, Redis. Ctrl-C leaves."""
    from rich.console import Console

    looks = Looks(_whole(url), key, interval)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal that knows no Unicode
    console = Console()
    try:
        with _Clock() as clock:
            if once:
                _once(looks, console, clock)
            elif console.is_terminal:
                _live(looks, console, clock)
            else:
                _lines(looks, clock)
    except KeyboardInterrupt:
        pass  # the way out
    except BrokenPipeError:  # `| head` has seen enough; what is still buffered has nowhere to go either
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


class Looks:
    """What has been seen of one gateway so far."""

    def __init__(self, url: str, key: str, every: float) -> None:
        self._url = url
        self._key = key
        self._readings: deque[Reading] = deque()
        self._points: deque[Point] = deque(maxlen=HISTORY)
        self._window = max(_WINDOW, every)
        self._lost_at: float | None = None
        self.every = every
        self.screen = Screen(url, note="asking …", every=every)

    def look(self) -> Screen:
        """Asks once more; what went wrong stands beside the last board that there was."""
        now = time.monotonic()
        try:
            self._take(Reading.parse(_fetch(self._url, self._key), now))
        except (Unreachable, NotMetrics) as error:
            self._lost_at = now if self._lost_at is None else self._lost_at
            self._readings.clear()  # rates over a gap would be of neither time
            self.screen = replace(self.screen, board=None, trouble=Trouble(str(error), now - self._lost_at), note="")
        return self.screen

    def _take(self, reading: Reading) -> None:
        self._lost_at = None
        if self._readings and reading.restarted_since(self._readings[-1]):
            self._readings.clear()
        last = self._readings[-1] if self._readings else None
        while len(self._readings) > 1 and reading.at - self._readings[1].at >= self._window:
            self._readings.popleft()
        self._readings.append(reading)
        if last is None:
            self.screen = replace(self.screen, board=None, trouble=None, note="waiting for a second reading …")
            return
        newest = make(Change(last, reading), time.time())
        self._points.append(Point(newest.requests, newest.reused))
        board = make(Change(self._readings[0], reading), time.time())
        self.screen = replace(self.screen, board=board, points=tuple(self._points), trouble=None)


def _live(looks: Looks, console: Any, clock: "_Clock") -> None:
    from rich.live import Live

    with Live(looks.screen, console=console, screen=True, auto_refresh=False) as live:
        while True:
            live.update(looks.look(), refresh=True)
            while clock.sleep(looks.every):  # the window has another size
                live.refresh()


def _lines(looks: Looks, clock: "_Clock") -> None:
    while True:
        screen = looks.look()
        stamp = time.strftime("%H:%M:%S")
        if screen.trouble is not None:
            typer.echo(f"{stamp} {screen.url}: {screen.trouble.reason}; asked again in {looks.every:g} s")
        elif screen.board is not None:
            typer.echo(f"{stamp} {line(screen.board)}")
        while clock.sleep(looks.every):
            pass


def _once(looks: Looks, console: Any, clock: "_Clock") -> None:
    looks.look()
    if looks.screen.trouble is None:
        while clock.sleep(looks.every):
            pass
        looks.look()
    if looks.screen.trouble is not None:
        raise SettingsError(f"{looks.screen.url}: {looks.screen.trouble.reason}")
    console.print(replace(looks.screen, live=False))


class _Clock:
    """Sleeps to the next look, and wakes when the window changes its size. SIGTERM is as Ctrl-C: the terminal is left as it was."""

    def __init__(self) -> None:
        self._due: float | None = None

    def __enter__(self) -> Self:
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._before = {number: signal.signal(number, handler) for number, handler in _HANDLERS.items()}
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(self, *_: object) -> None:
        signal.set_wakeup_fd(self._wakeup)
        for number, handler in self._before.items():
            signal.signal(number, handler)
        os.close(self._read)
        os.close(self._write)

    def sleep(self, seconds: float) -> bool:
        """Whether a signal woke it before the time was over; called again, it sleeps for what is left."""
        now = time.monotonic()
        if self._due is None:
            self._due = now + seconds
        ready, _, _ = select.select([self._read], [], [], max(0.0, self._due - now))
        if ready:
            os.read(self._read, 512)
            return True
        self._due = None
        return False


def _stop(_: int, __: FrameType | None) -> None:
    raise KeyboardInterrupt


def _wake(_: int, __: FrameType | None) -> None:
    """Its number in the pipe is enough."""


_HANDLERS = {signal.SIGTERM: _stop, signal.SIGWINCH: _wake}


class Unreachable(Exception):
    """No metrics came; the message says why in a few words."""


def _whole(url: str) -> str:
    """`gpu1:9090` is meant as `http://gpu1:9090/metrics`."""
    url = url if "://" in url else f"http://{url}"
    scheme, _, rest = url.partition("://")
    if scheme not in {"http", "https"}:
        raise SettingsError(f"--url: {scheme}:// is not spoken here; metrics are at an http(s) URL")
    return url if "/" in rest.rstrip("/") else f"{url.rstrip('/')}/metrics"


def _fetch(url: str, key: str) -> str:
    headers = {"Accept": "text/plain"} | ({"Authorization": f"Bearer {key}"} if key else {})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        request = urllib.request.Request(url, headers=headers)  # noqa: S310 - the user's own URL
        with opener.open(request, timeout=_PATIENCE) as response:
            text: str = response.read(_LARGEST).decode("utf-8", "replace")
            return text
    except urllib.error.HTTPError as error:
        raise Unreachable(_refusal(error)) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise Unreachable(f"no answer: {getattr(reason, 'strerror', None) or reason}".rstrip(": ")) from None
    except http.client.HTTPException as error:
        raise Unreachable(f"no answer in HTTP: {type(error).__name__}") from None


def _refusal(error: urllib.error.HTTPError) -> str:
    try:
        message: str = json.load(error)["error"]["message"]
    except (OSError, ValueError, KeyError, TypeError):
        return f"the answer was {error.code}"
    return f"the answer was {error.code}: {message}"
