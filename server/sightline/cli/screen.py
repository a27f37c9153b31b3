"""How `sightline top` draws a board: panels that fit the terminal's width, or one plain line where there is no terminal. No I/O."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rich.box import ROUNDED
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sightline.cli.board import SOURCES, Board, Saved, Spread

GOOD, WORK, WARN, BAD, QUIET = "green", "cyan", "yellow", "bold red", "bright_black"
COLOURS = {"hit": "green", "coalesced": "bright_green", "miss": "cyan", "bypass": "bright_black"}
LAG = 0.1, 0.25  # seconds of the event loop's lateness that are worth a warning, and bad
HISTORY = 240  # points that the chart can show
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_CHART = 4  # rows


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why there is no fresh reading, and for how many seconds."""

    reason: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Point:
    """One look: requests a second, and how many of them needed no engine."""

    requests: float
    reused: float


@dataclass(frozen=True, slots=True)
class Box:
    """A panel's content, and how many lines it has."""

    title: str
    lines: Sequence[RenderableType]
    style: str = QUIET
    grow: int = 1  # its share of a row's width

    @property
    def height(self) -> int:
        return sum(
            line.row_count + line.show_header if isinstance(line, Table) else line.height if isinstance(line, Chart) else 1
            for line in self.lines
        )

    def panel(self, height: int) -> Panel:
        title = f"[bold default]{self.title}"
        return Panel(Group(*self.lines), title=title, title_align="left", box=ROUNDED, border_style=self.style, height=height + 2)


@dataclass(frozen=True, slots=True)
class Chart:
    """Requests a second, oldest to newest: what needed no engine below, what did above it, as wide as there is room."""

    points: Sequence[Point]
    height: int = _CHART

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        shown = list(self.points)[-options.max_width :]
        top = max((point.requests for point in shown), default=0.0) or 1.0
        blocks = _EIGHTHS if console.encoding.startswith("utf") else "  ..::|##"
        for row in reversed(range(self.height)):
            line = Text(" " * (options.max_width - len(shown)))
            for point in shown:
                all_of_it, below = (value / top * self.height - row for value in (point.requests, point.reused))
                if below >= 1:
                    line.append(blocks[8], COLOURS["hit"])
                elif below > 0.06:
                    under = f" on {COLOURS['miss']}" if all_of_it >= 1 else ""
                    line.append(blocks[min(round(below * 8), 8)], COLOURS["hit"] + under)
                else:
                    line.append(blocks[min(max(round(all_of_it * 8), 0), 8)], COLOURS["miss"])
            yield line


@dataclass(frozen=True, slots=True)
class Screen:
    """All of it. `board` is None until there have been two readings; `note` stands in its place."""

    url: str
    board: Board | None = None
    points: Sequence[Point] = field(default=())
    trouble: Trouble | None = None
    note: str = ""
    every: float = 2.0
    live: bool = True

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        width, room = options.max_width, console.height if self.live else None
        yield self._head(width)
        if self.board is None:
            yield Text(self.note, QUIET)
            return
        left = None if room is None else room - 1
        for row in _rows(self.board, self.points, width):
            height = max(box.height for box in row)
            if left is not None:
                left -= height + 2
                if left < 0:
                    return  # a small terminal shows what comes first
            grid = Table.grid(expand=True)
            for box in row:
                grid.add_column(ratio=box.grow)
            grid.add_row(*(box.panel(height) for box in row))
            yield grid

    def _head(self, width: int) -> RenderableType:
        state, style = _state(self.board, self.trouble)
        version = f" {self.board.version}" if self.board and self.board.version else ""
        head = Text.assemble(("● ", style), (f"Sightline{version}", "bold"), ("  ", ""), (self.url, WORK), ("  ", ""), (state, style))
        about = f"rates over {self.board.seconds:.0f} s" if self.board else ""
        if self.live:
            about += f"{' · ' if about else ''}every {self.every:g} s · Ctrl-C leaves"
        if head.cell_len + len(about) + 2 > width:
            head.no_wrap, head.overflow = True, "ellipsis"
            return head
        grid = Table.grid(expand=True)
        grid.add_column()
        grid.add_column(justify="right", style=QUIET)
        grid.add_row(head, about)
        return grid


def line(board: Board) -> str:
    """The board in one plain line: words and numbers, for a pipe or a file."""
    reused = "-" if board.hit_rate is None else f"{board.hit_rate:.0%}"
    parts = [
        f"{number(board.requests)} req/s",
        f"reused {reused}",
        f"ttft p50 {seconds(board.first_token.p50)} p95 {seconds(board.first_token.p95)}",
        f"e2e p50 {seconds(board.whole.p50)} p95 {seconds(board.whole.p95)}",
        f"failed {number(board.statuses['failed'])}/s",
        f"limited {number(board.statuses['limited'])}/s",
        f"shed {number(sum(board.shed.values()))}/s",
        f"in flight {board.in_flight:.0f}",
        f"engines {board.engines_up}/{len(board.engines)}",
        f"store {board.store}",
        f"pictures {number(board.pictures)}/s",
        f"loop p99 {seconds(board.loop_lag.p99)}",
    ]
    if board.draining is not None:
        parts.append(f"draining {board.draining:.0f} s")
    return " · ".join(parts)


def _rows(board: Board, points: Sequence[Point], width: int) -> list[list[Box]]:
    """What an operator asks first comes first. A border in colour says where to look."""
    wide, narrow = width >= 126, width < 78
    requests = _requests(board, points, chart=_CHART if wide else _CHART - 1)
    cache, latency, engines, limits = _cache(board), _latency(board), _engines(board), _limits(board)
    pictures, process = _pictures(board), _process(board)
    if wide:
        return [[requests, cache], [latency, engines], [limits, pictures, process]]
    if narrow:
        return [[box] for box in (requests, cache, latency, engines, limits, pictures, process)]
    return [[requests], [cache, latency], [engines, limits], [pictures, process]]


def _state(board: Board | None, trouble: Trouble | None) -> tuple[str, str]:
    if trouble is not None:
        for_long = f" (for {trouble.seconds:.0f} s; it is asked again)" if trouble.seconds >= 1 else " (it is asked again)"
        return trouble.reason + for_long, BAD
    if board is None:
        return "", QUIET
    if board.draining is not None:
        return f"draining for {board.draining:.0f} s", WARN
    if not board.engines_up:
        return "no engine is up", BAD
    return "serving", GOOD


def _requests(board: Board, points: Sequence[Point], chart: int) -> Box:
    peak = max((point.requests for point in points), default=0.0)
    first = _words(
        (number(board.requests), "bold"), " requests/s   ", (f"{board.in_flight:.0f}", "bold"), " in flight",
        (f" · {size(board.held_bytes)}" if board.held_bytes else "", QUIET), (f"   peak {number(peak)}/s", QUIET),
    )  # fmt: skip
    styles = {"answered": GOOD, "refused": WARN, "limited": WARN, "failed": BAD, "left": WARN}
    outcome = _spaced(_rate(name, board.statuses[name], style) for name, style in styles.items())
    return Box("Requests", [first, Chart(points, chart), outcome], BAD if board.statuses["failed"] else QUIET, grow=6)


def _cache(board: Board) -> Box:
    rate, asked = board.hit_rate, sum(board.sources.values())
    first = _words(("–" if rate is None else f"{rate:.1%}", "bold green"), " needed no engine call")
    shares = Table.grid(expand=True, padding=(0, 2, 0, 0))
    cells = [(Text(name, COLOURS[name]), f"{board.sources[name] / asked:.1%}" if asked else "–") for name in SOURCES]
    for _ in range(2):
        shares.add_column(ratio=1, no_wrap=True)
        shares.add_column(justify="right", no_wrap=True)
    shares.add_row(*cells[0], *cells[2])
    shares.add_row(*cells[1], *cells[3])
    bar = _Bar([(board.sources[name], COLOURS[name]) for name in SOURCES])
    saved = Table.grid(expand=True, padding=(0, 2, 0, 0))
    saved.add_column(style=QUIET, no_wrap=True)
    saved.add_column(justify="right", no_wrap=True)
    saved.add_column(justify="right", no_wrap=True, ratio=1)
    saved.add_row("tokens saved", *_saved(board.saved_tokens, number))
    saved.add_row("seconds saved", *_saved(board.saved_seconds, duration))
    lines: list[RenderableType] = [first, bar, shares, saved]
    return Box("Cache", lines, grow=4)


def _latency(board: Board) -> Box:
    table = _table("", "p50", "p95", "p99")
    rows = {
        "first token": board.first_token,
        "  of a hit": board.first_token_hits,
        "between tokens": board.between_tokens,
        "whole answer": board.whole,
        "our overhead": board.overhead,
    }
    for name, spread in rows.items():
        table.add_row(name, *_times(spread))
    return Box("Latency", [table], grow=4)


def _engines(board: Board) -> Box:
    table = _table("", "/s", "busy", "p50", "p95")
    for engine in board.engines:
        name = Text.assemble(("● ", GOOD) if engine.up else ("○ ", BAD), (engine.name, "" if engine.up else BAD))
        p50, p95, _ = _times(engine.latency)
        table.add_row(name, number(engine.calls), f"{engine.busy:.1f}", p50, p95)
    tail = _spaced([_rate("retries", board.retries), _rate("errors", board.engine_errors, BAD)])
    style = BAD if not board.engines_up else WARN if board.engines_up < len(board.engines) else QUIET
    return Box("Engines", [table, tail], style, grow=5)


def _limits(board: Board) -> Box:
    limited = _pairs("limited", board.limited, WARN, nothing="nobody limited")
    shed = _pairs("shed", board.shed, BAD, nothing="nothing shed")
    queue = [Text("places as many as come" if board.places is None else f"places {board.places:.0f}", QUIET)]
    if board.waiting is not None:
        queue.insert(0, _count("waiting", board.waiting))
    style = BAD if board.shed else WARN if board.limited or board.waiting else QUIET
    return Box("Limits and shedding", [limited, shed, _spaced(queue)], style, grow=4)


def _pictures(board: Board) -> Box:
    first = _words((number(board.pictures), "bold"), " pictures/s", (f" · {size(board.picture_bytes)}/s", QUIET))
    prepared = _words(("prepared in ", QUIET), seconds(board.prepare.p50), (" · p95 ", QUIET), seconds(board.prepare.p95))
    fetched = _pairs("fetched", board.fetches, GOOD, nothing="none fetched by URL")
    refused = _pairs("refused", board.rejected, WARN, nothing="none refused")
    return Box("Pictures", [first, prepared, fetched, refused], grow=3)


def _process(board: Board) -> Box:
    """The store that the gateway leans on, and the process itself."""
    style = {"up": GOOD, "down": BAD, "being tried": WARN}.get(board.store, QUIET)
    store = f"Redis is {board.store}" if style != QUIET else "answers are kept in its own memory"
    first = [Text.assemble(("● ", style), (store, style))]
    if board.replicas and style != QUIET:
        first.append(Text(f"{board.replicas:.0f} replica{'s' if board.replicas != 1 else ''}", QUIET))
    lines = [_spaced(first), _spaced([_rate("errors", board.store_errors, BAD), _rate("local limits", board.local_limits)])]
    lag = board.loop_lag.p99
    late = QUIET if lag is None or lag < LAG[0] else WARN if lag < LAG[1] else BAD
    lines.append(_words(("event loop late by ", QUIET), (seconds(lag), late if late != QUIET else ""), (" (p99)", QUIET)))
    if board.cpu is not None and board.resident is not None:
        lines.append(_words(("CPU ", QUIET), f"{board.cpu:.0%}", (" · memory ", QUIET), size(board.resident)))
    if board.dropped_lines:
        lines.append(_rate("log lines dropped", board.dropped_lines, BAD))
    bad = board.store == "down" or board.dropped_lines or late == BAD
    return Box("Store and process", lines, BAD if bad else WARN if WARN in {style, late} else QUIET, grow=3)


class _Bar:
    """Shares of the width, in their colours."""

    def __init__(self, parts: Iterable[tuple[float, str]]) -> None:
        self._parts = list(parts)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        block = "█" if console.encoding.startswith("utf") else "#"
        total, drawn, sofar, bar = sum(value for value, _ in self._parts), 0, 0.0, Text()
        for value, style in self._parts:
            sofar += value
            end = round(sofar / total * options.max_width) if total else 0
            bar.append(block * (end - drawn), style)
            drawn = end
        yield bar or Text("─" * options.max_width, QUIET)


def _table(*heads: str) -> Table:
    table = Table(box=None, expand=True, padding=(0, 0, 0, 1), header_style=QUIET, pad_edge=False)
    for index, head in enumerate(heads):
        table.add_column(head, justify="right" if index else "left", no_wrap=True, ratio=None if index else 1)
    return table


def _words(*parts: str | tuple[str, str]) -> Text:
    """One line, cut off where there is no room."""
    text = Text.assemble(*parts)
    text.no_wrap, text.overflow = True, "ellipsis"
    return text


def _spaced(parts: Iterable[Text]) -> Text:
    return Text("   ", no_wrap=True, overflow="ellipsis").join(parts)


def _pairs(name: str, rates: Mapping[str, float], style: str, nothing: str) -> Text:
    if not rates:
        return Text(nothing, QUIET)
    return _spaced([Text(name, QUIET), *(_rate(kind, rate, style) for kind, rate in rates.items())])


def _rate(name: str, rate: float, style: str = WARN) -> Text:
    """What does not happen is there, but does not call."""
    return Text(f"{name} {number(rate)}/s", style if rate else QUIET, no_wrap=True, overflow="ellipsis")


def _count(name: str, value: float) -> Text:
    return Text(f"{name} {value:.0f}", WARN if value else QUIET)


def _saved(saved: Saved, show: Callable[[float], str]) -> tuple[Text, str]:
    """Now, and in all."""
    if saved.rate is None or saved.total is None:
        return Text("–", QUIET), ""
    return Text(f"{show(saved.rate)}/s", GOOD if saved.rate else QUIET), show(saved.total)


def _times(spread: Spread) -> list[str]:
    return [seconds(value) for value in (spread.p50, spread.p95, spread.p99)]


def seconds(value: float | None) -> str:
    """A short time: three figures at most, in the unit that suits it."""
    if value is None:
        return "–"
    for unit, factor in (("µs", 1e6), ("ms", 1e3)):
        if value * factor < 999.5:
            shown = value * factor
            return f"{shown:.0f} {unit}" if shown >= 9.95 or unit == "µs" else f"{shown:.1f} {unit}"
    return f"{value:.1f} s" if value < 99.95 else f"{value:.0f} s"


def duration(value: float) -> str:
    """A long time, in its two largest units."""
    for unit, small, many, few in (("d", "h", 86_400, 3_600), ("h", "m", 3_600, 60), ("m", "s", 60, 1)):
        if value >= many:
            return f"{int(value // many)} {unit} {int(value % many // few)} {small}"
    return f"{value:.1f} s"


def number(value: float) -> str:
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= factor * 0.9995:
            return f"{value / factor:.1f} {unit}"
    return "0" if value == 0 else f"{value:.2f}" if value < 0.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def size(value: float) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value:.0f} B"
