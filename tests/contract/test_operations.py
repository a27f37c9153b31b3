"""What operators are told stands in the documents: every metric with its labels, every event of the log."""

import re
from pathlib import Path

from prometheus_client.metrics import MetricWrapperBase

from sightline.settings import names
from sightline.telemetry.metrics import Metrics
from sightline.telemetry.series import Family

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/operations.md"


def table() -> str:
    """What stands between the page's `metrics` marks."""
    rows = []
    for metric in vars(Metrics()).values():
        if isinstance(metric, MetricWrapperBase | Family):
            name = f"sightline_{metric._name.removeprefix('sightline_')}{'_total' if metric._type == 'counter' else ''}"
            labels = f"{{{','.join(metric._labelnames)}}}" if metric._labelnames else ""
            rows.append(f"| `{name}{labels}` | {metric._type} | {metric._documentation} |")
    return "\n".join(["| series | kind | what it is |", "| --- | --- | --- |", *rows])


def test_every_metric_stands_in_the_table() -> None:
    """After a change: `python tests/contract/test_operations.py` writes it anew."""
    between = PAGE.read_text(encoding="utf-8").partition("<!-- metrics -->\n")[2].partition("\n<!-- /metrics -->")[0]
    assert between == table()


def test_every_event_of_the_log_is_named() -> None:
    written = {
        event
        for source in (ROOT / "server/sightline").rglob("*.py")
        for event in re.findall(r'"([a-z_]+\.[a-z_]+)"', source.read_text(encoding="utf-8"))
        if event.partition(".")[0] in {"request", "gateway", "engine", "store", "limits", "key_file", "picture_fetch", "answer", "log"}
    }
    written -= {name for name, _, _ in names()}  # settings are named alike
    assert [event for event in sorted(written) if f"`{event}`" not in PAGE.read_text(encoding="utf-8")] == []


if __name__ == "__main__":
    head, _, rest = PAGE.read_text(encoding="utf-8").partition("<!-- metrics -->\n")
    PAGE.write_text(f"{head}<!-- metrics -->\n{table()}\n<!-- /metrics -->{rest.partition('<!-- /metrics -->')[2]}", encoding="utf-8")
