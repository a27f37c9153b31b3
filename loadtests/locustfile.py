"""Users as they are, for Locust. See README.md beside this, and `make load`, which starts all that is needed.

    locust -f loadtests/locustfile.py --host http://127.0.0.1:8080 [--headless -u 50 -r 10 -t 60s --report NAME] [Audit Service …]

Beside Locust's own rows (POST, per scenario) there are rows of these types: TTFT and ITL (ms to the first token of a stream, and between
tokens), HIT, MISS, COALESCED and BYPASS (what the cache did; ms of the whole answer), SENT (bytes of the request), LEFT (streams that
the client left). They are not part of the total. Exit status with limits or --report: 0 all hold, 1 one does not, 2 the run says nothing.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import gevent
import locust.stats
import requests
from locust import FastHttpUser, constant_pacing, events, task
from locust.contrib.fasthttp import FAILURE_EXCEPTIONS
from locust.exception import StopUser
from locust.runners import MasterRunner, WorkerRunner

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from loadtests.bench.tools import home
from loadtests.pictures.album import Album, drawn
from loadtests.scenarios import abuse, audit, dashboard, inspection, service
from loadtests.scenarios.asks import Ask, Scenario
from loadtests.scenarios.outcome import BETWEEN, CACHE, FIRST, LEFT, SENT, Limit, Outcome, Row, rounded
from loadtests.scenarios.reading import Reading

PATH = "/v1/chat/completions"
LIMITS = {  # option → what it limits, and what it means
    "max_error_rate": ("error-rate", "share of requests that may fail, 0 to 1"),
    "max_p95": ("p95", "ms: 95th percentile of whole answers"),
    "max_ttft_p95": ("ttft-p95", "ms: 95th percentile of the time to a stream's first token"),
    "max_itl_p95": ("itl-p95", "ms: 95th percentile of the time between tokens"),
    "min_hit_rate": ("hit-rate", "least share of answers that cost no engine call of their own, 0 to 1"),
    "min_requests": ("requests", "fewest requests a second"),
}
locust.stats.bucket_response_time = rounded  # Locust's own gives whole milliseconds, of which a kept answer takes two


@dataclass(slots=True)
class Common:
    """What the users of one process share."""

    model: str
    album: Album
    dice: Random
    listings: list[audit.Listing] = field(default_factory=list)
    standing: int = 0  # users that have not ended by themselves


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    load = parser.add_argument_group("Sightline")
    load.add_argument("--model", default="", help="to ask for. Default: the first that is served")
    parser.add_argument("--key", default="", env_var="SIGHTLINE_KEY", is_secret=True, include_in_web_ui=False, help="the API key")
    load.add_argument(
        "--seed",
        type=int,
        default=int(time.time()),
        help="of all choices and pictures. Default: the clock, so that no two runs share pictures",
    )
    load.add_argument(
        "--every", type=float, default=1.0, help="mean seconds from a user's answer to its next question; the inspection line's pace"
    )
    load.add_argument("--longest-side", type=int, default=4096, help="px, 256 or more: draw no larger pictures, for a small engine")
    load.add_argument(
        "--obey-schema", action="store_true", help="an answer that should obey a schema fails if it does not (a mock's never do)"
    )
    load.add_argument(
        "--each", type=int, default=0, help="each user ends after so many requests, and the run with the last. Not for several processes"
    )
    load.add_argument("--about", default="", help="words that stand in the report: what was asked, in which version")
    load.add_argument("--report", default="", help="write NAME.json, .png and .html into loadtests/results, or where the path NAME says")
    for option, (_, meaning) in LIMITS.items():
        load.add_argument(f"--{option.replace('_', '-')}", type=float, default=None, help=f"limit: {meaning}")


@events.test_start.add_listener
def _begin(environment: Any, **_: Any) -> None:
    """Draws the pictures and finds the model, in each process that asks (a master does not)."""
    if isinstance(environment.runner, MasterRunner):
        return
    options = environment.parsed_options
    worker = environment.runner.worker_index if isinstance(environment.runner, WorkerRunner) else 0
    dice = Random(f"{options.seed}/{worker}")
    try:
        # In a thread of its own, so that a worker goes on telling its master that it lives.
        pages = gevent.get_hub().threadpool.apply(drawn, (home() / "album", options.longest_side))
        model = options.model or _served(environment.host, options.key)
    except (OSError, ValueError, LookupError) as error:  # requests' are OSErrors
        print(f"INVALID: nothing can be asked of {environment.host}: {error}", file=sys.stderr)
        if environment.web_ui:
            raise  # stands in the page's log
        environment.process_exit_code = 2
        sys.exit(2)
    environment.common = Common(model, Album(pages, start=dice.randrange(2**20)), dice)


def _served(host: str, key: str) -> str:
    answer = requests.get(f"{host}/v1/models", headers=_headers(key), timeout=30)
    answer.raise_for_status()
    model: str = answer.json()["data"][0]["id"]
    return model


def _headers(key: str) -> dict[str, str]:
    return {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}


class Person(FastHttpUser):
    """Asks what its scenario says, reads as a client reads, and tells Locust what it saw."""

    abstract = True

    def begin(self, common: Common, dice: Random) -> Scenario:
        raise NotImplementedError

    def on_start(self) -> None:
        common: Common = self.environment.common
        common.standing += 1
        self.options = self.environment.parsed_options
        self.dice = Random(common.dice.random())
        self.scenario = self.begin(common, self.dice)
        self.left = self.options.each or -1

    def wait_time(self) -> float:
        return self.dice.expovariate(1 / self.options.every) if self.options.every else 0.0

    @task
    def live(self) -> None:
        if not self.left:
            self._end()
        self.left -= 1
        ask = self.scenario.ask()
        began = time.perf_counter()
        with self.client.post(
            PATH, data=ask.body, name=ask.name, headers=_headers(self.options.key), stream=True, catch_response=True
        ) as answer:
            reading, size = Reading(began), 0
            try:
                for piece in self._pieces(ask, answer):
                    size += len(piece)
                    if ask.stream and answer.status_code == 200:
                        reading.event(piece, time.perf_counter())
                    else:
                        reading.whole(piece)
                    if ask.leave_after and len(reading.pieces) >= ask.leave_after and not reading.done:
                        answer.release()  # an answer that is not complete: its connection is closed
                        answer.request_meta["request_type"] = LEFT
                        break
                fault = None if answer.request_meta["request_type"] == LEFT else self._fault(ask, answer, reading)
            except FAILURE_EXCEPTIONS as error:
                fault = f"the connection broke: {type(error).__name__}"
            took = (time.perf_counter() - began) * 1e3
            answer.request_meta |= {"response_time": took, "response_length": size}
            if fault:
                answer.failure(fault)
            else:
                answer.success()
                self._count(ask, answer, reading, took, size)

    @staticmethod
    def _pieces(ask: Ask, answer: Any) -> Any:
        if ask.stream and answer.status_code == 200:
            # The response's own readline knows CRLF only, and its iteration waits for whole blocks.
            yield from iter(lambda: answer._response.readline(b"\n\n"), b"")  # noqa: SLF001
        else:
            yield answer.content or b""

    def _fault(self, ask: Ask, answer: Any, reading: Reading) -> str | None:
        return reading.fault(ask, answer.status_code, schema=self.options.obey_schema)

    def _count(self, ask: Ask, answer: Any, reading: Reading, took: float, size: int) -> None:
        """Rows of our own, beside Locust's and not in its total."""
        stats = self.environment.stats
        if ask.refusal:
            return
        stats.get(ask.name, SENT).log(None, len(ask.body))
        if ask.stream and reading.first is not None:
            stats.get(ask.name, FIRST).log(reading.first * 1e3, 0)
            between = stats.get(ask.name, BETWEEN)
            for gap in reading.gaps:
                between.log(gap * 1e3, 0)
        if answer.request_meta["request_type"] != LEFT:
            stats.get(ask.name, answer.headers.get("x-cache", "BYPASS")).log(took, size)
            self.scenario.heard(reading.text)

    def _end(self) -> None:
        common: Common = self.environment.common
        common.standing -= 1
        if not common.standing:
            gevent.spawn(self.environment.runner.quit)
        raise StopUser


class Audit(Person):
    weight = 40

    def begin(self, common: Common, dice: Random) -> Scenario:
        return audit.Audit(common.model, common.album, dice, common.listings)


class Service(Person):
    weight = 28

    def begin(self, common: Common, dice: Random) -> Scenario:
        return service.Service(common.model, common.album, dice)


class Inspection(Person):
    weight = 18

    def begin(self, common: Common, _: Random) -> Scenario:
        return inspection.Inspection(common.model, common.album)

    def wait_time(self) -> float:
        pace: float = constant_pacing(self.options.every)(self)
        return pace


class Dashboard(Person):
    weight = 12

    def begin(self, common: Common, dice: Random) -> Scenario:
        return dashboard.Dashboard(common.model, common.album, dice)


class Abuse(Person):
    weight = 2

    def begin(self, common: Common, dice: Random) -> Scenario:
        return abuse.Abuse(common.model, common.album, dice)


@events.quitting.add_listener
def _report(environment: Any, **_: Any) -> None:
    """Holds the run to its limits and writes what came of it, where the counts of all processes are."""
    options = environment.parsed_options
    given = [(name, option, getattr(options, option)) for option, (name, _) in LIMITS.items()]
    limits = [Limit(name, value, least=option.startswith("min_")) for name, option, value in given if value is not None]
    if isinstance(environment.runner, WorkerRunner):
        return
    if options.csv_prefix:
        gevent.sleep(locust.stats.CSV_STATS_INTERVAL_SEC + 0.2)  # its writer looks once a second: the last one is to be in the files
    if not (limits or options.report):
        return
    outcome = _outcome(environment, limits)
    environment.process_exit_code = outcome.status()
    for held in outcome.limits:
        print(f"{'ok  ' if held.held else 'FAIL'} {held.limit}: {held.told}")
    if outcome.invalid:
        print(f"INVALID: {outcome.invalid}", file=sys.stderr)
    if options.report:
        from loadtests.scenarios import report  # matplotlib: only who draws waits for it

        report.save(outcome, options.report)


def _outcome(environment: Any, limits: list[Limit]) -> Outcome:
    from loadtests.bench.report import machine

    stats, options, runner = environment.stats, environment.parsed_options, environment.runner
    start = min(stats.total.num_reqs_per_sec, default=0)  # not Locust's: pictures may have been drawn since
    rows = [_row(entry, start) for entry in stats.entries.values() if entry.num_requests or entry.num_failures]
    about = {
        "machine": machine(),
        "locust": locust.__version__,
        "host": environment.host,
        "users": {user.__name__: user.weight for user in environment.user_classes},
        **{name: getattr(options, name) for name in ("about", "num_users", "every", "longest_side", "seed", "processes")},
    }
    remarks = ["the load generator's core was full: what it measures holds its own waiting"] if runner.cpu_warning_emitted else []
    invalid = None
    if runner.exceptions:
        invalid = f"a user broke: {next(iter(runner.exceptions.values()))['msg']}"
    elif not stats.total.num_requests:
        invalid = "nothing was asked"
    errors = Counter({f"{error.name}: {error.to_dict()['error']}": error.occurrences for error in stats.errors.values()})
    seconds = (stats.last_request_timestamp or start) - start
    outcome = Outcome(about, max(0.0, round(seconds, 1)), rows, errors, remarks=remarks, invalid=invalid)
    return replace(outcome, limits=outcome.held_to(limits))


def _row(entry: Any, start: int) -> Row:
    asked = entry.method not in {FIRST, BETWEEN, SENT, *CACHE}
    each = [{second - start: count for second, count in counts.items()} for counts in (entry.num_reqs_per_sec, entry.num_fail_per_sec)]
    return Row(
        entry.method, entry.name, entry.num_requests, entry.num_failures, dict(entry.response_times), entry.total_content_length,
        *(each if asked else ()),
    )  # fmt: skip
