"""The screen of `sightline top` fits the terminal, whatever its size, and a border's colour says where to look."""

import io
import itertools

import pytest
from rich.console import Console
from tests.exposition import exposed

from sightline.cli import screen
from sightline.cli.board import Board, make
from sightline.cli.screen import Point, Screen, Trouble
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.readings import Change, Reading

POINTS = [Point(number % 7, number % 3) for number in range(50)]


def board(metrics: Metrics) -> Board:
    text = exposed(metrics)
    return make(Change(Reading.parse(text, 0.0), Reading.parse(text, 2.0)), now=0.0)


def engines(*up: int) -> Metrics:
    metrics = Metrics()
    for number, value in enumerate(up):
        metrics.engine_up.labels(f"a-rather-long-name-of-an-engine-{number}.default.svc.cluster.local:8000").set(value)
    return metrics


def drawn(what: Screen, width: int = 130, height: int = 50, *, encoding: str = "utf-8", colour: bool = False) -> list[str]:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="replace")
    console = Console(file=file, width=width, height=height, force_terminal=colour, color_system="standard" if colour else None)
    console.print(what)
    file.flush()
    file.seek(0)
    return file.read().splitlines()


@pytest.mark.parametrize(("width", "height"), [(200, 60), (130, 40), (126, 24), (125, 24), (80, 24), (78, 50), (77, 24), (40, 20), (20, 5)])
def test_it_fits(width: int, height: int) -> None:
    """No line is longer than the terminal is wide, there are no more lines than it is high, and no box is cut off below."""
    lines = drawn(Screen("http://gateway:9090/metrics", board(engines(1, 1)), POINTS), width, height)

    assert max(map(len, lines)) <= width
    assert len(lines) <= height
    assert sum(line.count("╭") for line in lines) == sum(line.count("╰") for line in lines)


@pytest.mark.parametrize("width", [130, 80, 50])
def test_with_room_enough_everything_is_there(width: int) -> None:
    text = "\n".join(drawn(Screen("http://gateway:9090/metrics", board(engines(1)), POINTS), width, 80))

    for title in ("Requests", "Cache", "Latency", "Engines", "Limits and shedding", "Pictures", "Store and process"):
        assert f" {title} " in text


@pytest.mark.parametrize(
    ("up", "state"), [((1, 1), "serving"), ((1, 0), "serving"), ((0, 0), "no engine is up")], ids=["all up", "one down", "none up"]
)
def test_the_head_says_how_it_is(up: tuple[int, ...], state: str) -> None:
    assert state in drawn(Screen("http://gateway:9090/metrics", board(engines(*up))))[0]


def test_an_unreachable_gateway_is_one_clear_line() -> None:
    lines = drawn(Screen("http://gateway:9090/metrics", trouble=Trouble("no answer: Connection refused", 12.0)))

    assert lines[0].startswith("● Sightline  http://gateway:9090/metrics  no answer: Connection refused (for 12 s; it is asked again)  ")
    assert "".join(lines[1:]).strip() == ""


def test_an_engine_that_is_down_colours_its_box() -> None:
    def border(metrics: Metrics) -> str:
        return next(line for line in drawn(Screen("u", board(metrics)), colour=True) if "Engines" in line).partition("Engines")[0]

    assert len({border(engines(1, 1)), border(engines(1, 0)), border(engines(0, 0))}) == 3


def test_a_terminal_without_unicode_gets_other_marks() -> None:
    text = "\n".join(drawn(Screen("http://gateway:9090/metrics", board(engines(1)), POINTS), encoding="ascii"))

    assert "#" in text
    assert "+- Requests" in text


def test_the_chart_is_as_high_as_the_busiest_moment() -> None:
    """Half of the busiest moment is half as high; what was reused stands below what was not."""
    rows = drawn_chart([Point(8, 0), Point(4, 4), Point(0, 0)])

    assert rows == ["█  ", "█  ", "██ ", "██ "]


def drawn_chart(points: list[Point]) -> list[str]:
    file = io.StringIO()
    Console(file=file, width=len(points), height=10).print(screen.Chart(points, 4))
    return file.getvalue().splitlines()


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0000421, "42 µs"), (0.00423, "4.2 ms"), (0.0423, "42 ms"), (0.9994, "999 ms"), (0.9996, "1.0 s"), (640, "640 s")],
)
def test_a_short_time_has_its_unit(value: float | None, shown: str) -> None:
    assert screen.seconds(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(1.84, "1.8 s"), (61, "1 m 1 s"), (3 * 3600 + 720, "3 h 12 m"), (90_000, "1 d 1 h")])
def test_a_long_time_has_two(value: float, shown: str) -> None:
    assert screen.duration(value) == shown


def test_numbers_keep_short_as_they_grow() -> None:
    shown = [screen.number(value) for value in itertools.accumulate([0.012] + [10.0] * 8, lambda a, b: a * b)]

    assert shown == ["0.01", "0.12", "1.2", "12.0", "120", "1.2 k", "12.0 k", "120.0 k", "1.2 M"]
    assert screen.number(0) == "0"
