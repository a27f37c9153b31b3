"""What a run found, as a table, as JSON, and as a chart; ratios first."""

import json
import math
import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from loadtests.bench.rounds import METRICS, Results, median, ratio

OURS = "sightline"


def machine() -> dict[str, Any]:
    """Where and of what these figures are."""
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(encoding="utf-8"), re.MULTILINE)
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False, cwd=Path(__file__).parent
    )
    return {
        "when": datetime.now(UTC).isoformat(timespec="minutes"),
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "kernel": platform.release(),
        "commit": commit.stdout.strip() or None,
        "load_average": round(os.getloadavg()[0], 2),
    }


def table(results: Results, remarks: Sequence[str]) -> str:
    """A line for each gateway in each cell; `sightline / it` is paired by round, median of rounds."""
    bounds = "\n".join(remarks)
    lines = []
    for cell, gateways in results.items():
        a, b = _latencies(cell)
        head = f"{cell:<18}{'req/s':>9}{'cpu µs':>10}{'core':>6}{f'+{a} µs':>12}{f'+{b} µs':>12}"
        lines += ["", f"{head}   {OURS} / it: {'rps':>8}{'cpu':>8}{f'+{a}':>9}"]
        for name in gateways:
            found = {key: median(results, cell, name, key) for key in METRICS}
            mark = "*" if f"{cell}: {name} " in bounds else " "
            line = f"  {name:<16}{found['rps']:>9.1f}{mark}{found['cpu']:>9.1f}{found['util']:>6.0%}"
            line += (
                f"{found[a]:>10.0f} ={found[b]:>10.0f} ="
                if name == "direct"
                else f"{found['added_' + a]:>12.0f}{found['added_' + b]:>12.0f}"
            )
            if name not in {OURS, "direct"}:
                shares = [ratio(results, cell, OURS, name, key) for key in ("rps", "cpu", f"added_{a}")]
                line += " " * (9 + len(OURS)) + "".join(f"{share:>{width}.2f}" for share, width in zip(shares, (8, 8, 9), strict=True))
            lines.append(line)
    return "\n".join([*lines, "", *(f"* {remark}" for remark in remarks)])


def as_json(results: Results, about: Mapping[str, Any]) -> str:
    """Ratios, medians, and every round. Infinity (the other added nothing measurable) is null."""
    ratios = {
        cell: {
            name: {key: _finite(ratio(results, cell, OURS, name, key)) for key in METRICS} for name in names if name not in {OURS, "direct"}
        }
        for cell, names in results.items()
    }
    medians = {
        cell: {name: {key: round(median(results, cell, name, key), 3) for key in METRICS} for name in names}
        for cell, names in results.items()
    }
    return json.dumps({**about, "ratios": ratios, "medians": medians, "rounds": results}, indent=1) + "\n"


def chart(results: Results, about: Mapping[str, Any], file: Path) -> None:
    """CPU per request and requests/s, by cell, as the gateways compare with Sightline. Needs the extra `load`."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    names = [name for name in dict.fromkeys(name for by_name in results.values() for name in by_name) if name != "direct"]
    colours = dict(zip(names, plt.get_cmap("tab10").colors, strict=False))  # type: ignore[attr-defined]  # a listed colour map has them
    figure, axes = plt.subplots(2, 1, figsize=(11, 8), constrained_layout=True)
    for axis, metric, title in zip(
        axes, ("cpu", "rps"), ("CPU µs a request (less is better)", "requests/s on one core (more is better)"), strict=True
    ):
        for place, cell in enumerate(results):
            present = [name for name in names if name in results[cell]]
            for number, name in enumerate(present):
                width = 0.8 / len(present)
                label = name if name not in axis.get_legend_handles_labels()[1] else None
                axis.bar(place - 0.4 + (number + 0.5) * width, median(results, cell, name, metric), width, color=colours[name], label=label)
        axis.set_yscale("log")
        axis.set_xticks(range(len(results)), list(results))
        axis.set_title(title, loc="left")
        axis.grid(axis="y", alpha=0.3)
    axes[0].legend(ncols=len(names), fontsize=8)
    place = about.get("machine", {})
    figure.suptitle(
        f"Sightline beside its peers, one core each · {place.get('cpu')} · {place.get('commit')} · {place.get('when')}", fontsize=9
    )
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _latencies(cell: str) -> tuple[str, str]:
    return ("ttfb50", "tok99") if cell.startswith("sse") else ("p50", "p99")


def _finite(number: float) -> float | None:
    return round(number, 4) if math.isfinite(number) else None
