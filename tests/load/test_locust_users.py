"""Each kind of user asks a real gateway a few times, under Locust itself; what Locust wrote down is what engine and log saw."""

import csv
import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from tests.fakes.engine import FakeEngine
from tests.fakes.redis_server import RedisServer
from tests.fakes.script import Script
from tests.serving import GatewayProcess, environment, free_port, ready

ROOT = Path(__file__).parents[2]
LOCUST = Path(sys.executable).parents[1] / "locust/bin/locust"
EACH = 12
SEED, LEAVING = 1, 1  # with which so many customers leave
USERS = ("Audit", "Service", "Inspection", "Dashboard", "Abuse")


class Ran(NamedTuple):
    """`summary` is the report's, by scenario; `rows` Locust's CSV, by type and name; `finished` the gateway's log."""

    status: int
    out: str
    summary: dict[str, dict[str, Any]]
    rows: dict[tuple[str, str], dict[str, str]]
    finished: list[dict[str, Any]]
    engine_calls: int
    folder: Path


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    folder = tmp_path_factory.mktemp("locust")
    redis = RedisServer(folder / "redis")
    redis.start()
    short, long = Script(text="Yes."), Script(text="The picture shows a red bicycle before a wall.", ttft=0.02, rate=500)
    with FakeEngine() as engine, GatewayProcess(engine.url, environ=environment(store=redis.url, cache__timeout=1)) as gateway:
        engine.choose = lambda call: long if call.json.get("stream") else short
        ready(gateway)
        words = [
            "--headless",
            "--only-summary",
            "-u",
            str(len(USERS)),
            "-r",
            "50",
            "--equal-weights",
            "--each",
            str(EACH),
            "--every",
            "0.01",
        ]
        words += [
            "--longest-side",
            "256",
            "--seed",
            str(SEED),
            "--csv",
            str(folder / "run"),
            "--report",
            str(folder / "run"),
            "--max-error-rate",
            "0",
        ]
        environ = os.environ | {"BENCH_HOME": str(folder)}
        command = [str(LOCUST), "-f", "loadtests/locustfile.py", "--host", gateway.url, *words]
        done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
        assert (folder / "run.json").exists(), done.stdout + done.stderr
        report = json.loads((folder / "run.json").read_text(encoding="utf-8"))
        with (folder / "run_stats.csv").open(encoding="utf-8", newline="") as file:
            rows = {(row["Type"], row["Name"]): row for row in csv.DictReader(file)}
        finished = gateway.events("request.finished", route="/v1/chat/completions")
        yield Ran(done.returncode, done.stdout, report["summary"], rows, finished, len(engine.calls), folder)
    redis.kill()


def of(ran: Ran, kind: str) -> dict[str, dict[str, str]]:
    return {name: row for (type_, name), row in ran.rows.items() if type_ == kind}


def count(rows: dict[str, dict[str, str]]) -> int:
    return sum(int(row["Request Count"]) for row in rows.values())


def test_every_request_is_counted_and_none_failed(ran: Ran) -> None:
    assert ran.status == 0, ran.out
    kinds = ("e-commerce audit", "customer service", "inspection line", "dashboard", "abuse")
    assert {name: row["count"] for name, row in ran.summary.items()} == dict.fromkeys(kinds, EACH) | {"all": EACH * len(USERS)}
    assert count(of(ran, "POST")) + count(of(ran, "LEFT")) == len(ran.finished) == EACH * len(USERS)
    assert {row["Failure Count"] for row in ran.rows.values()} == {"0"}


def test_streams_have_first_tokens_and_times_between_tokens(ran: Ran) -> None:
    """Of streams only, one first token each, no sooner than the engine gave it."""
    first, between = of(ran, "TTFT"), of(ran, "ITL")
    assert set(first) == set(between) == {"customer service", "dashboard"}
    assert {row["Request Count"] for row in first.values()} == {str(EACH)}
    assert count(between) > 2 * count(first)
    asked = {row["cache"] for row in ran.finished if row["status"] == 200}
    assert {"MISS"} <= asked
    assert all(float(row["Max Response Time"]) >= 20 for row in first.values())


def test_a_client_that_leaves_is_counted_as_one(ran: Ran) -> None:
    left = of(ran, "LEFT")
    assert set(left) == {"customer service"}
    assert count(left) == ran.summary["customer service"]["left"] == LEAVING
    assert int(ran.rows["POST", "customer service"]["Request Count"]) == EACH - LEAVING


def test_cache_results_are_the_gateways(ran: Ran) -> None:
    """Those of whole answers; a client that has left does not look."""
    told = Counter({kind: count(of(ran, kind)) for kind in ("HIT", "COALESCED", "MISS", "BYPASS")})
    logged = Counter(row["cache"] for row in ran.finished if row["status"] == 200)
    assert told.total() == 4 * EACH - LEAVING
    assert told["HIT"] == logged["HIT"] > 0
    assert {kind for kind, number in told.items() if number} == {kind for kind, number in logged.items() if number}


def test_bytes_sent_hold_the_pictures(ran: Ran) -> None:
    """As base64, which is a third more than the log's bytes."""
    sent = of(ran, "SENT")
    bytes_sent = sum(float(row["Average Content Size"]) * int(row["Request Count"]) for row in sent.values())
    pictures = sum(row["image_bytes"] for row in ran.finished if row["status"] == 200)
    assert set(sent) == {"e-commerce audit", "customer service", "inspection line", "dashboard"}
    assert bytes_sent > pictures * 4 / 3 > 0


def test_refusals_that_are_due_are_no_failures(ran: Ran) -> None:
    """The rows of bad input are named by code, and hold as many as the gateway refused with it."""
    codes: Counter[str] = Counter()
    for name, row in of(ran, "POST").items():
        if name.startswith("abuse: "):
            codes[name.removeprefix("abuse: ").partition(" ")[0]] += int(row["Request Count"])
    assert codes.total() == EACH
    assert codes == Counter(row["code"] for row in ran.finished if row["status"] not in {200, 499})


def test_a_report_lies_where_it_was_asked_for(ran: Ran) -> None:
    page = (ran.folder / "run.html").read_text(encoding="utf-8")
    assert (ran.folder / "run.png").read_bytes()[:4] == b"\x89PNG"
    assert '<img src="run.png"' in page
    assert "error-rate ≤ 0: got 0" in page


def test_a_limit_that_does_not_hold_is_the_exit_status(tmp_path: Path) -> None:
    """Nobody listens there, so that every request fails."""
    words = ["--headless", "--only-summary", "-u", "1", "--each", "2", "--every", "0", "--model", "any", "--max-error-rate", "0.5", "Abuse"]
    command = [str(LOCUST), "-f", "loadtests/locustfile.py", "--host", f"http://127.0.0.1:{free_port()}", *words, "--longest-side", "256"]
    environ = os.environ | {"BENCH_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environ, capture_output=True, text=True, timeout=120, check=False)
    assert "FAIL error-rate ≤ 0.5: got 1" in done.stdout
    assert done.returncode == 1
