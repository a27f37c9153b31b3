"""The rounds of a run, every gateway by turns in each, and whether what came of them says anything."""

import statistics
import sys
from collections.abc import Sequence

from loadtests.bench.meter import LATENCIES, MODES, Found, Gateway, Meter, cell_name
from loadtests.bench.programs import Invalid

Results = dict[str, dict[str, list[Found]]]  # cell → gateway → one finding a round

METRICS = ("rps", "cpu", "util", *LATENCIES, *(f"added_{name}" for name in LATENCIES))


def median(results: Results, cell: str, name: str, metric: str) -> float:
    return statistics.median(found[metric] for found in results[cell][name])


def ratio(results: Results, cell: str, one: str, other: str, metric: str) -> float:
    """Median over the rounds of one / other, both of the same round; infinite where the other added nothing measurable."""
    pairs = zip(results[cell][one], results[cell][other], strict=True)
    return statistics.median(a[metric] / b[metric] if b[metric] > 0 else float("inf") for a, b in pairs)


def start(meter: Meter, everyone: Sequence[Gateway], workloads: Sequence[str]) -> dict[str, float]:
    """Asks everyone once, and measures the harness alone: requests/s of the engine without a gateway, by workload."""
    alone = {}
    for workload in workloads:
        for gateway in everyone:
            for mode in MODES[workload] if gateway.caches else MODES[workload][:1]:
                if gateway.takes(cell_name(mode, workload)):
                    meter.prime(gateway, mode, workload)
        if workload != "sse":
            alone[workload] = meter.full(everyone[0], "miss", workload)["rps"]
    return alone


def run(meter: Meter, everyone: Sequence[Gateway], workloads: Sequence[str], rounds: int) -> Results:
    """`everyone` begins with the engine itself, called `direct`."""
    cells = [(workload, mode, cell_name(mode, workload)) for workload in workloads for mode in MODES[workload]]
    results: Results = {cell: {gateway.name: [] for gateway in everyone if gateway.takes(cell)} for _, _, cell in cells}
    for number in range(rounds):
        shift = number % len(everyone)
        for workload in workloads:
            print(f"round {number + 1} of {rounds}: {workload}", file=sys.stderr)
            for gateway in [*everyone[shift:], *everyone[:shift]]:  # who goes first changes, so that drift hits all alike
                _turn(meter, results, gateway, workload, number)
        for by_name in results.values():
            base = by_name["direct"][number]
            for findings in by_name.values():
                findings[number].update({f"added_{key}": findings[number][key] - base[key] for key in LATENCIES})
    return results


def _turn(meter: Meter, results: Results, gateway: Gateway, workload: str, number: int) -> None:
    for mode in MODES[workload]:
        cell = cell_name(mode, workload)
        if not gateway.takes(cell):
            continue
        first = results[cell_name(MODES[workload][0], workload)][gateway.name]
        again = not gateway.caches and len(first) > number  # who only forwards does the same work in every mode
        results[cell][gateway.name].append(dict(first[number]) if again else meter.measure(gateway, mode, workload))


def check(meter: Meter, results: Results, everyone: Sequence[Gateway], alone: dict[str, float]) -> list[str]:
    """Raises Invalid, or returns remarks on figures that are bounds only."""
    remarks = []
    for cell in results:
        if cell.startswith("sse"):
            continue  # paced by the engine: nobody is meant to be at full speed
        for name in results[cell]:
            rps, base, util = (median(results, cell, *which) for which in ((name, "rps"), ("direct", "rps"), (name, "util")))
            if name != "direct" and base < 2 * rps and util < 0.8:
                text = (
                    f"{cell}: {name} does {rps:.0f} req/s where the harness alone does {base:.0f}, and keeps its core only {util:.0%} busy"
                )
                if name == "sightline":
                    raise Invalid(f"{text}, so the harness limits it.")
                remarks.append(f"{text}: its rps is a lower bound, compare cpu instead.")
    for workload, before in alone.items():
        _steady(meter, everyone[0], workload, [before, results[cell_name("miss", workload)]["direct"][0]["rps"]])
    return remarks + _paces(meter.paces)


def _steady(meter: Meter, direct: Gateway, workload: str, before: Sequence[float]) -> None:
    """A disturbed second is forgiven; a machine that has become slower or faster is not."""
    after: list[float] = []
    for _ in range(3):
        after.append(meter.full(direct, "miss", workload)["rps"])
        if any(0.75 <= after[-1] / rate <= 1.25 for rate in before):
            return
    was, now = (", ".join(f"{rate:.0f}" for rate in rates) for rates in (before, after))
    raise Invalid(
        f"{workload}: the engine without a gateway did {was} req/s at the start and {now} at the end: the machine is not quiet enough."
    )


def _paces(paces: Sequence[float]) -> list[str]:
    third = max(1, len(paces) // 3)
    first, last = statistics.median(paces[:third]), statistics.median(paces[-third:])
    if not 0.75 <= last / first <= 1.25:
        raise Invalid(
            f"a fixed piece of work on the gateways' core took {first:.1f} ms in the run's first third and {last:.1f} in its last: "
            "the machine is not quiet enough."
        )
    low, *_, high = statistics.quantiles(paces, n=10)
    if high <= 1.25 * low:
        return []
    return [f"the gateways' core was uneven: a fixed piece of work took {low:.1f} ms at the 10th percentile, {high:.1f} at the 90th."]
