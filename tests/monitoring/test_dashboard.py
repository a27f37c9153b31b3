"""Every expression of dashboard and rules finds data in a real Prometheus that scraped loaded gateways; the JSON is its source's."""

import json
import re
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dashboard as source
import pytest
import yaml
from tests.monitoring.prometheus import SHIPPED, Prometheus, Series, Vllm
from tests.monitoring.scene import Scene

DASHBOARD: dict[str, Any] = json.loads((SHIPPED / "dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
ROWS = [panel for panel in DASHBOARD["panels"] if panel["type"] == "row"]
CHOSEN = {"$__rate_interval": "2s", "$__range": "1m", "$job": "sightline", "$instance": ".*", "$model": ".*"}
SEEN = 40.0  # seconds in which all must have been seen; a quarter of it is usual
LAST = "Saturation › Draining · A"


def named(panel: Mapping[str, Any]) -> str:
    """With its row's title, since some panels of two rows are called alike."""
    return f"{[row['title'] for row in ROWS if row['gridPos']['y'] < panel['gridPos']['y']][-1]} › {panel['title']}"


def asked(expr: str) -> str:
    """As Grafana sends it when all is chosen."""
    for name, value in CHOSEN.items():
        expr = expr.replace(name, value)
    return expr


def offered(query: str) -> str:
    """What a variable's `label_values(SERIES, LABEL)` looks for, as an expression."""
    series, label = query.removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
    chosen = f"{series[:-1]}," if series.endswith("}") else f"{series}{{"
    return f'count by ({label}) ({chosen}{label}!=""}})'


def selectors() -> set[str]:
    """The series that recording rules and alerts speak of, with what they ask of their labels."""
    files = (yaml.safe_load(file.read_text(encoding="utf-8")) for file in (SHIPPED / "rules").glob("*.yml"))
    exprs = [rule["expr"] for rules in files for group in rules["groups"] for rule in group["rules"]]
    return {found for expr in exprs for found in re.findall(r"\b(?:up|sightline[_:][\w:]+)\b(?:{.*?})?", expr)}


QUERIES = {
    **{f"{named(panel)} · {target['refId']}": asked(target["expr"]) for panel in PANELS for target in panel["targets"]},
    **{f"${one['name']}": asked(offered(one["query"]["query"])) for one in DASHBOARD["templating"]["list"] if one["type"] == "query"},
}
SELECTORS = sorted(selectors())


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Series]:
    return played(tmp_path_factory.mktemp("monitoring"))


def played(folder: Path) -> Mapping[str, Series]:
    """What each expression gives after the scene has been played until all give something, or time is up."""
    scene = Scene(folder)
    with Vllm() as vllm, Prometheus(folder / "prometheus", {"sightline": scene.metrics, "vllm": [vllm.address]}) as prometheus, scene:
        prometheus.sees(3)
        began = time.time()
        found: dict[str, Series] = {}

        def missing() -> set[str]:
            """The queries that have told nothing so far."""
            for expr in QUERIES.values():
                if not tells(found.get(expr, {})):
                    found[expr] = prometheus.values(expr, began, time.time())
            return {name for name, expr in QUERIES.items() if not tells(found[expr])}

        while time.time() - began < SEEN and missing() - {LAST}:
            scene.play()
        scene.drain()
        while time.time() - began < SEEN and missing():
            time.sleep(0.1)
        found |= {selector: prometheus.values(selector, began, time.time()) for selector in SELECTORS}
        return found


def tells(series: Series) -> bool:
    return any(value != 0 for values in series.values() for value in values)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_data(found: Mapping[str, Series], name: str) -> None:
    """At least one series, with at least one value that is a number and not nought: of all that the panel counts something happened."""
    series = found[QUERIES[name]]

    assert tells(series), f"{QUERIES[name]} gave {list(series) or 'nothing'}"


@pytest.mark.parametrize("selector", SELECTORS)
def test_what_the_rules_speak_of_is_there(found: Mapping[str, Series], selector: str) -> None:
    assert found[selector]


def test_the_dashboard_is_what_its_source_makes() -> None:
    """After a change of panels.yml: `python deploy/monitoring/dashboard.py`."""
    assert (SHIPPED / "dashboard.json").read_text(encoding="utf-8") == source.text()


def test_every_panel_says_what_it_shows() -> None:
    """A title of its own in its row, a description in sentences, a unit, a datasource that can be chosen."""
    assert len({named(panel) for panel in PANELS}) == len(PANELS)
    assert all(panel["description"].endswith(".") and len(panel["description"]) > 40 for panel in PANELS)
    assert all(panel["fieldConfig"]["defaults"]["unit"] for panel in PANELS)
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


if __name__ == "__main__":  # each panel's expressions, with the largest value that they gave
    with tempfile.TemporaryDirectory() as place:
        series = played(Path(place))
    for name, expr in QUERIES.items():
        values = [value for one in series[expr].values() for value in one]
        sys.stdout.write(f"{name}\n    {expr}\n    = {max(values, default=float('nan')):.6g} ({len(series[expr])} series)\n")
