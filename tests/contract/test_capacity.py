"""The capacity pages are what the code says: figures from the results, tables and printed plans from the command.

After a change: `python loadtests/figures.py && python -m tests.contract.test_capacity` writes them anew.
"""

import json
import re
import shlex
from dataclasses import replace
from pathlib import Path

import pytest
from loadtests import figures
from typer.testing import CliRunner

from sightline.capacity.models import CHECKPOINTS, GPUS, Checkpoint, Gpu, fit, smallest
from sightline.capacity.plan import Demand, find_gpu, find_model, plan
from sightline.capacity.speed import Question, fastest
from sightline.cli.main import build

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "deploy/capacity.md"
ENGINE = ROOT / "deploy/engine/README.md"

SHOWN = ("L4", "RTX-4090", "L40S", "A100-80GB", "H100", "H200")
LOADS = {
    "100 k pictures a day, peak 5 ×": Demand(pictures_per_day=100_000),
    "2 M in 90 days, peak 3 ×": Demand(pictures_per_day=2_000_000 / 90, peak_factor=3),
    "1 000 requests/s at the peak": Demand(peak_requests_per_second=1000),
}
HITS = (0.0, 0.4, 0.8)
CARDS = (("zai-org/GLM-4.6V-Flash", "RTX-4090"), ("GLM-4.6V-Flash-FP8", "RTX-4090"), ("GLM-4.6V-Flash-FP8", "H100"))
PUBLISHED = (  # answers/s at most, of Qwen2.5-VL-7B in BF16: RedHatAI's card of Qwen2.5-VL-7B-Instruct-FP8-Dynamic, vLLM 0.7.2
    ("RTX-A6000", "640×480", 391, 128, 1.5), ("RTX-A6000", "1680×2240", 4800, 64, 0.4),
    ("A100-80GB", "640×480", 391, 128, 2.6), ("A100-80GB", "1680×2240", 4800, 64, 0.7),
    ("H100", "640×480", 391, 128, 3.1), ("H100", "1680×2240", 4800, 64, 0.9),
)  # fmt: skip


def loads() -> str:
    """What each load takes at each hit rate."""
    heads = ["load", "hits", "requests/s", "gateway cores", "pods", "Redis", "Redis commands/s", "Mbit/s in"]
    heads += [f"{gpu}, {model.rpartition('/')[2].removeprefix('GLM-4.6V-')}" for model, gpu in CARDS]
    rows = []
    for name, demand in LOADS.items():
        for hits in HITS:
            asked = replace(demand, hit_rate=hits)
            found = {line.name: line.value for line in plan(asked).lines}
            cells = [
                name,
                f"{hits:.0%}",
                f"{asked.peak:,.3g}" if asked.peak < 100 else f"{asked.peak:,.0f}",
                f"{found['gateway cores']:.2g}",
                f"{found['gateway pods']:g}",
            ]
            cells += [f"{found['Redis memory']:,.0f} MiB", f"{found['Redis commands']:,.0f}", f"{found['clients to gateways']:,.0f}"]
            for model, gpu in CARDS:
                more = {line.name: line.value for line in plan(replace(asked, model=model, gpu=gpu)).lines}
                cells.append(f"{more['GPUs']:,.0f}")
            rows.append(cells)
    return markdown(heads, rows)


def sources() -> str:
    found = figures.figures()
    return markdown(
        ["figure", "value", "unit", "origin"],
        [
            [f"`{name}`", _points(one["points"]), one["unit"], f"{one['source'].replace('loadtests/results/', '')}"]
            for name, one in found.items()
        ],
    )


def _points(points: list[tuple[float, float]]) -> str:
    return f"{points[0][1]:g}" if len(points) == 1 else ", ".join(f"{value:,.0f} at {kilobytes:g} kB" for kilobytes, value in points)


def estimates() -> str:
    """The estimate beside the published maximum."""
    rows = []
    for name, size, picture, text, published in PUBLISHED:
        pace = fastest(fit(find_model("Qwen2.5-VL-7B-Instruct"), find_gpu(name)), Question(text, picture, 128), 60)
        assert pace is not None
        rows.append([name, size, f"{published:g}", f"{pace.a_second:.2g}", f"{published / pace.a_second:.0%}"])
    return markdown(["GPU", "picture", "published, answers/s", "estimated", "share"], rows)


def models() -> str:
    heads = ["checkpoint", "format", "weights", "cache a token", *(f"{gpu.name} ({gpu.memory / 2**30:.0f} GiB)" for gpu in shown())]
    rows = [
        [
            f"`{one.name}`" if one.published else f"{one.name} (make it: `quantise.py`)",
            one.form.name,
            f"{one.model.weights(one.form) / 1e9:.1f} GB",
            f"{one.model.cache_bytes / 1024:g} KiB",
            *(cell(one, gpu) for gpu in shown()),
        ]
        for one in CHECKPOINTS
    ]
    return markdown(heads, rows)


def shown() -> list[Gpu]:
    return [gpu for gpu in GPUS if gpu.name in SHOWN]


def cell(checkpoint: Checkpoint, gpu: Gpu) -> str:
    """Tokens that the cache holds, in thousands, and on how many GPUs when on more than one."""
    lies = smallest(checkpoint, gpu)
    return "–" if lies is None else f"{f'{lies.gpus} ×: ' if lies.gpus > 1 else ''}{lies.tokens // 1000:,} k"


def markdown(heads: list[str], rows: list[list[str]]) -> str:
    return "\n".join([f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)])


TABLES = {"loads": (PAGE, loads), "figures": (PAGE, sources), "estimates": (PAGE, estimates), "models": (ENGINE, models)}
BLOCK = re.compile(r"```console\n\$ sightline (plan [^\n]*)\n(.*?)```", re.DOTALL)


def printed(command: str) -> str:
    result = CliRunner().invoke(build(["plan"]), shlex.split(command), env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    return result.stdout


def test_figures_are_those_of_the_results() -> None:
    assert figures.TARGET.read_text(encoding="utf-8") == figures.written()


@pytest.mark.parametrize("name", TABLES)
def test_tables_are_what_the_code_reckons(name: str) -> None:
    page, make = TABLES[name]

    assert between(page.read_text(encoding="utf-8"), name) == make()


def test_printed_plans_are_what_the_command_prints() -> None:
    shown = BLOCK.findall(PAGE.read_text(encoding="utf-8"))

    assert len(shown) >= 2
    assert [output for _, output in shown] == [printed(command) for command, _ in shown]


def test_json_says_the_same() -> None:
    text, found = printed("plan --pictures-per-day 100000"), json.loads(printed("plan --pictures-per-day 100000 --json"))

    for name, line in found["plan"].items():
        assert re.search(rf"^{re.escape(name)} +[<\d]", text, re.MULTILINE), name
        assert line["unit"] in text
    assert found["demand"]["peak_requests_per_second"] == pytest.approx(5.787)
    assert found["sources"].keys() == figures.figures().keys()


@pytest.mark.parametrize("words", ["--pictures-per-day 100 --hit-rate 1.2", "--pictures-per-day=-5", "", "--pictures-per-day 5 --gpu TPU"])
def test_a_wrong_flag_is_one_line_and_status_2(words: str) -> None:
    result = CliRunner().invoke(build(["plan"]), ["plan", *shlex.split(words)])

    assert (result.exit_code, result.stdout) == (2, "")
    assert re.fullmatch(r"sightline plan: --[a-z-]+: [^\n]+\n", result.stderr)


def between(text: str, name: str) -> str:
    return text.partition(f"<!-- {name} -->\n")[2].partition(f"\n<!-- /{name} -->")[0]


def anew(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name, (where, make) in TABLES.items():
        if where == page:
            head, _, rest = text.partition(f"<!-- {name} -->\n")
            text = f"{head}<!-- {name} -->\n{make()}\n<!-- /{name} -->{rest.partition(f'<!-- /{name} -->')[2]}"
    page.write_text(BLOCK.sub(lambda block: f"```console\n$ sightline {block[1]}\n{printed(block[1])}```", text), encoding="utf-8")


if __name__ == "__main__":
    for written in (PAGE, ENGINE):
        anew(written)
