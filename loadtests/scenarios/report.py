"""A load run as a page: what was got beside its limits, a table by scenario, four charts, and where it was."""

import html
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
from loadtests.scenarios.outcome import ASKED, CACHE, FIRST, LEFT, Outcome, merged

mpl.use("Agg")
import matplotlib.pyplot as plt

RESULTS = Path(__file__).resolve().parents[1] / "results"
COLOURS = ("#3c6ec8", "#f09632", "#5aaa5a", "#8a63b8", "#9a9a9a")
KEPT = dict(zip(CACHE, ("#2e8b57", "#8fcf9f", "#c9d3e6", "#e3e3e3"), strict=True))
COLUMNS: Mapping[str, str] = {
    "count": "requests", "requests": "a second", "failures": "failed", "left": "left", "hit-rate": "hits",
    "p50": "answer p50", "p95": "p95", "p99": "p99",
    "ttft-p50": "token 1 p50", "ttft-p95": "p95", "itl-p50": "between p50", "itl-p95": "p95",
    "sent_bytes": "sent kB", "received_bytes": "got kB",
}  # fmt: skip


def save(outcome: Outcome, name: str) -> None:
    """As `name`.json, .png and .html: among the results, or where its path says."""
    stem = RESULTS / name
    stem.parent.mkdir(parents=True, exist_ok=True)
    Path(f"{stem}.json").write_text(json.dumps(outcome.as_json(), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    Path(f"{stem}.html").write_text(page(outcome, stem.name), encoding="utf-8")
    chart(outcome, Path(f"{stem}.png"))
    print(f"{table(outcome)}\nwritten to {stem}.json, .png and .html")


def shown(name: str, value: float | None) -> str:
    if value is None:
        return "–"
    if name == "hit-rate":
        return f"{value:.0%}"
    if name.endswith("_bytes"):
        return f"{value / 1e3:.1f}"
    return f"{value:.0f}" if name in {"count", "failures", "left"} or value >= 100 else f"{value:.1f}"


def _lines(outcome: Outcome) -> Iterable[tuple[str, list[str]]]:
    for scenario in (*outcome.scenarios, None):
        summary = outcome.summary(scenario)
        yield scenario or "all", [shown(name, summary[name]) for name in COLUMNS]


def table(outcome: Outcome) -> str:
    """Milliseconds, unless it says otherwise."""
    width = max(len(title) for title in COLUMNS.values()) + 2
    head = f"{'':<20}" + "".join(f"{title:>{width}}" for title in COLUMNS.values())
    return "\n".join([head, *(f"{name:<20}" + "".join(f"{cell:>{width}}" for cell in cells) for name, cells in _lines(outcome))])


def page(outcome: Outcome, name: str) -> str:
    place = {**outcome.about.get("machine", {}), **outcome.about, "seconds": outcome.seconds}
    place.pop("machine", None)
    verdict = (
        "not valid: it says nothing" if outcome.invalid else ("", "a limit does not hold", "not valid: it says nothing")[outcome.status()]
    )
    rows = "".join(f"<tr><th>{html.escape(line)}</th>{_cells(cells)}</tr>" for line, cells in _lines(outcome))
    limits = "".join(f"<li class={'ok' if held.held else 'bad'}>{html.escape(held.limit)}: {held.told}</li>" for held in outcome.limits)
    errors = "".join(f"<li class=bad>{count} × {html.escape(error)}</li>" for error, count in outcome.errors.items())
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in (*filter(None, [outcome.invalid]), *outcome.remarks))
    return PAGE.format(
        name=html.escape(name),
        verdict=f"<p class=bad>{verdict}</p>" if verdict else "",
        limits=limits,
        errors=errors,
        notes=notes,
        head="".join(f"<th>{html.escape(title)}</th>" for title in COLUMNS.values()),
        rows=rows,
        place="".join(f"<tr><th>{html.escape(key)}</th><td>{html.escape(_flat(value))}</td></tr>" for key, value in place.items()),
    )


def _cells(cells: Iterable[str]) -> str:
    return "".join(f"<td>{html.escape(cell)}</td>" for cell in cells)


def _flat(value: Any) -> str:
    return ", ".join(f"{key} {part}" for key, part in value.items()) if isinstance(value, dict) else str(value)


PAGE = """\
<!doctype html>
<html lang=en><meta charset=utf-8><title>{name} · Sightline under load</title>
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; color: #1c2230 }}
table {{ border-collapse: collapse; margin: 1rem 0; font-variant-numeric: tabular-nums }}
th, td {{ padding: .25rem .6rem; text-align: right; border-bottom: 1px solid #e2e5ec; font-weight: 400 }}
th:first-child {{ text-align: left }} thead th, tr:last-child th, tr:last-child td {{ font-weight: 600 }}
.place td {{ text-align: left }} .place th, .place td {{ font-weight: 400 !important; color: #5a6070 }}
img {{ max-width: 100% }} .ok {{ color: #2e7d4f }} .bad {{ color: #b3261e }} ul {{ padding-left: 1.2rem }}
</style>
<h1>{name}</h1>
{verdict}<ul>{limits}{errors}{notes}</ul>
<p>Milliseconds, unless it says otherwise. A hit cost no engine call of its own. <em>Left</em>: streams that the client broke off.</p>
<table><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table>
<img src="{name}.png" alt="requests a second, answer times, first tokens, cache results">
<table class=place>{place}</table>
</html>
"""


def chart(outcome: Outcome, file: Path) -> None:
    colours = dict(zip(outcome.scenarios, COLOURS * 3, strict=False))
    figure, ((asked, times), (first, kept)) = plt.subplots(2, 2, figsize=(12, 7.5), constrained_layout=True)
    _asked(asked, outcome, colours)
    _times(times, outcome, colours)
    _first(first, outcome, colours)
    _kept(kept, outcome)
    machine = outcome.about.get("machine", {})
    figure.suptitle(
        f"{machine.get('cpu')} · {machine.get('commit')} · {machine.get('when')} · seed {outcome.about.get('seed')}", fontsize=9
    )
    for axis in (asked, times, first, kept):
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=110)
    plt.close(figure)


def _asked(axis: Any, outcome: Outcome, colours: Mapping[str, str]) -> None:
    seconds = range(max(1, int(outcome.seconds)))  # the last one is seldom whole
    each = [merged(row.each_second for kind in (ASKED, LEFT) for row in outcome.of(kind, name)) for name in outcome.scenarios]
    axis.stackplot(
        seconds, [[counts[second] for second in seconds] for counts in each], labels=list(colours), colors=list(colours.values())
    )
    failed = merged(row.failed_each_second for row in outcome.of(ASKED))
    axis.plot(seconds, [failed[second] for second in seconds], color="#b3261e", linewidth=1.2, label="failed")
    axis.set_title("requests each second", loc="left")
    axis.set_xlabel("seconds")
    axis.set_ylim(bottom=0)
    axis.margins(x=0)
    axis.legend(ncols=3, fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.16), frameon=False)


def _times(axis: Any, outcome: Outcome, colours: Mapping[str, str]) -> None:
    for name, colour in colours.items():
        times = merged(row.times for row in outcome.of(ASKED, name))
        if total := times.total():
            steps, reached = sorted(times), 0
            shares = [(reached := reached + times[step]) / total for step in steps]
            axis.step([max(0.1, step) for step in steps], shares, where="post", color=colour, label=name)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.set_ylim(0, 1.01)
    axis.grid(alpha=0.3)
    axis.set_title("share of whole answers within so many ms", loc="left")


def _first(axis: Any, outcome: Outcome, colours: Mapping[str, str]) -> None:
    names = [name for name in outcome.scenarios if outcome.of(FIRST, name)]
    for place, name in enumerate(names):
        for offset, measure in ((0.2, "ttft"), (-0.2, "itl")):
            middle, high = (outcome.measured(f"{measure}-{share}", name) or 0.0 for share in ("p50", "p95"))
            axis.barh(place + offset, high, 0.34, color=colours[name], alpha=0.3)
            axis.barh(place + offset, middle, 0.34, color=colours[name])
            what = "first token" if measure == "ttft" else "between tokens"
            axis.text(high, place + offset, f"  {what}: {middle:g}, {high:g}", va="center", fontsize=8)
    axis.set_yticks(range(len(names)), names)
    axis.set_xlim(0, 1.45 * axis.get_xlim()[1])
    axis.set_ylim(-0.6, max(1, len(names)) - 0.4)
    axis.set_title("streams, ms: median and 95th percentile", loc="left")


def _kept(axis: Any, outcome: Outcome) -> None:
    names = [name for name in outcome.scenarios if any(outcome.of(kind, name) for kind in CACHE)]
    counts = {name: {kind: sum(row.count for row in outcome.of(kind, name)) for kind in CACHE} for name in names}
    left = dict.fromkeys(names, 0.0)
    for kind, colour in KEPT.items():
        shares = [counts[name][kind] / max(1, sum(counts[name].values())) for name in names]
        if any(shares):
            axis.barh(names, shares, 0.6, left=list(left.values()), color=colour, label=kind)
        for name, share in zip(names, shares, strict=True):
            if share > 0.04:
                axis.text(left[name] + share / 2, name, f"{share:.0%}", ha="center", va="center", fontsize=8)
            left[name] += share
    axis.set_xlim(0, 1)
    axis.xaxis.set_major_formatter(mpl.ticker.PercentFormatter(1.0))
    axis.set_title("what the cache did", loc="left")
    axis.legend(ncols=len(CACHE), fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.08), frameon=False)
