"""What a load run came to: rows as Locust counts them, the limits it was held to, and the same as JSON. Pure: no Locust, no drawing."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

ASKED, LEFT, FIRST, BETWEEN, SENT = "POST", "LEFT", "TTFT", "ITL", "SENT"  # a row's kind; cache results are rows as well
CACHE = ("HIT", "COALESCED", "MISS", "BYPASS")

Counts = Mapping[float, int]  # of milliseconds, or of seconds


@dataclass(frozen=True, slots=True)
class Row:
    """What Locust has under one type and name. `times`: rounded milliseconds → how often; `size`: bytes, all together;
    `each_second` and `failed_each_second`: whole seconds since the start → how often.
    """

    kind: str
    name: str
    count: int
    failures: int
    times: Counts
    size: int
    each_second: Counts = field(default_factory=dict)
    failed_each_second: Counts = field(default_factory=dict)

    @property
    def scenario(self) -> str:
        return self.name.partition(":")[0]


@dataclass(frozen=True, slots=True)
class Limit:
    """`--max-ttft-p95 120` is a limit of what `ttft-p95` measures; `least` turns it round."""

    measure: str
    value: float
    least: bool = False

    def __str__(self) -> str:
        return f"{self.measure} {'≥' if self.least else '≤'} {self.value:g}"


@dataclass(frozen=True, slots=True)
class Held:
    """A limit, and what was got; None where nothing was measured, which holds no limit."""

    limit: str
    got: float | None
    held: bool

    @property
    def told(self) -> str:
        return "nothing to measure" if self.got is None else f"got {self.got:g}"


@dataclass(frozen=True, slots=True)
class Outcome:
    about: Mapping[str, Any]
    seconds: float
    rows: Sequence[Row]
    errors: Mapping[str, int] = field(default_factory=dict)
    limits: Sequence[Held] = ()
    remarks: Sequence[str] = ()
    invalid: str | None = None

    def of(self, kind: str, scenario: str | None = None) -> list[Row]:
        return [row for row in self.rows if row.kind == kind and scenario in {None, row.scenario}]

    @property
    def scenarios(self) -> list[str]:
        """The busiest first."""
        counts = Counter({row.scenario: 0 for row in self.rows})
        for row in self.of(ASKED) + self.of(LEFT):
            counts[row.scenario] += row.count
        return [name for name, _ in counts.most_common()]

    def measured(self, measure: str, scenario: str | None = None) -> float | None:
        """`error-rate`, `hit-rate`, `requests` a second; `p95` of whole answers, `ttft-p95`, `itl-p95` in ms. None: nothing to measure."""
        asked = self.of(ASKED, scenario) + self.of(LEFT, scenario)
        count = sum(row.count for row in asked)
        if measure == "error-rate":
            return sum(row.failures for row in asked) / count if count else None
        if measure == "requests":
            return count / self.seconds if self.seconds else None
        if measure == "hit-rate":
            known = Counter({kind: sum(row.count for row in self.of(kind, scenario)) for kind in CACHE})
            return (known["HIT"] + known["COALESCED"]) / known.total() if known.total() else None
        kind, _, share = f"-{measure}".rpartition("-")
        rows = self.of({"": ASKED, "-ttft": FIRST, "-itl": BETWEEN}[kind], scenario)
        return percentile(merged(row.times for row in rows), float(share.removeprefix("p")) / 100)

    def held_to(self, limits: Iterable[Limit]) -> list[Held]:
        found = []
        for limit in limits:
            got = self.measured(limit.measure)
            within = got is not None and (got >= limit.value if limit.least else got <= limit.value)
            found.append(Held(str(limit), got if got is None else round(got, 4), within))
        return found

    def status(self) -> int:
        """As everywhere here: 0 all limits hold, 1 one does not, 2 the run says nothing."""
        if self.invalid or any(held.got is None for held in self.limits):
            return 2
        return 0 if all(held.held for held in self.limits) else 1

    def as_json(self) -> dict[str, Any]:
        summary = {name: self.summary(name) for name in (*self.scenarios, None)}
        return {**asdict(self), "summary": {name or "all": row for name, row in summary.items()}}

    def summary(self, scenario: str | None) -> dict[str, float | None]:
        names = ("requests", "error-rate", "hit-rate", "p50", "p95", "p99", "ttft-p50", "ttft-p95", "itl-p50", "itl-p95")
        found = {name: self.measured(name, scenario) for name in names}
        asked, sent = self.of(ASKED, scenario), self.of(SENT, scenario)
        counts: dict[str, float | None] = {
            "count": sum(row.count for row in asked + self.of(LEFT, scenario)),
            "left": sum(row.count for row in self.of(LEFT, scenario)),
            "failures": sum(row.failures for row in asked),
            "sent_bytes": _mean(sent),
            "received_bytes": _mean(asked),
        }
        return counts | {name: None if value is None else round(value, 4) for name, value in found.items()}


def _mean(rows: Sequence[Row]) -> float | None:
    count = sum(row.count for row in rows)
    return round(sum(row.size for row in rows) / count) if count else None


def merged(times: Iterable[Counts]) -> Counter[float]:
    total: Counter[float] = Counter()
    for some in times:
        total.update(some)
    return total


def percentile(times: Counts, share: float) -> float | None:
    """The nearest rank's."""
    rank, count = share * sum(times.values()), 0
    for time in sorted(times):
        count += times[time]
        if count >= rank:
            return time
    return None


def rounded(milliseconds: float) -> float:
    """Two digits, and tenths below ten milliseconds: a kept answer takes two of them."""
    if milliseconds < 10:
        return round(milliseconds, 1)
    digits = 0 if milliseconds < 100 else -1 if milliseconds < 1000 else -2 if milliseconds < 10_000 else -3
    return float(round(milliseconds, digits))
