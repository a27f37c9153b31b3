"""Every expression of the dashboard gives data of a real Prometheus that scraped loaded gateways; the JSON is what its source says."""

import json
import time
from collections.abc import Iterator, Mapping
from typing import Any

import dashboard as source
import pytest
from tests.monitoring.prometheus import SHIPPED, Prometheus, Series, Vllm
from tests.monitoring.scene import Scene

DASHBOARD: dict[str, Any] = json.loads((SHIPPED / "dashboard.json").read_text(encoding="utf-8"))
PANELS: list[dict[str, Any]] = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]
QUERIES = {f"{panel['title']} · {target['refId']}": target["expr"] for panel in PANELS for target in panel["targets"]}
CHOSEN = {"$__rate_interval": "2s", "$__range": "1m", "$job": "sightline", "$instance": ".*", "$model": ".*"}
SEEN = 40.0  # seconds in which all must have been seen; a third of it is usual


def asked(expr: str) -> str:
    """As Grafana sends it when all is chosen."""
    for name, value in CHOSEN.items():
        expr = expr.replace(name, value)
    return expr


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, Series]]:
    """What each query gives after the scene has been played until all give something, or time is up."""
    folder = tmp_path_factory.mktemp("monitoring")
    scene = Scene(folder)
    with Vllm() as vllm, Prometheus(folder / "prometheus", {"sightline": scene.metrics, "vllm": [vllm.address]}) as prometheus, scene:
        prometheus.sees(3)
        began = time.time()
        found: dict[str, Series] = {}

        def look() -> list[str]:
            """The queries that have given nothing so far, or nothing but zeros."""
            for name, expr in QUERIES.items():
                if not tells(found.get(name, {})):
                    found[name] = prometheus.values(asked(expr), began, time.time())
            return [name for name in QUERIES if not tells(found[name])]

        while time.time() - began < SEEN and set(look()) - {"Draining · A"}:
            scene.play()
        scene.drain()
        while time.time() - began < SEEN and look():
            time.sleep(0.1)
        yield found


def tells(series: Series) -> bool:
    return any(value != 0 for values in series.values() for value in values)


@pytest.mark.parametrize("name", QUERIES)
def test_a_query_gives_data(seen: Mapping[str, Series], name: str) -> None:
    """At least one series, with at least one value that is a number and not nought: of all that the panel counts something happened."""
    assert tells(seen[name]), f"{asked(QUERIES[name])} gave {list(seen[name]) or 'nothing'}"


def test_the_dashboard_is_what_its_source_makes() -> None:
    """After a change of panels.yml: `python deploy/monitoring/dashboard.py`."""
    assert (SHIPPED / "dashboard.json").read_text(encoding="utf-8") == source.text()


def test_every_panel_says_what_it_shows() -> None:
    """A title of its own, a description in sentences, a unit, a datasource that can be chosen."""
    titles = [(panel["title"], panel["fieldConfig"]["defaults"]["unit"]) for panel in PANELS]
    assert all(panel["description"].endswith(".") and len(panel["description"]) > 40 for panel in PANELS)
    assert all(unit for _, unit in titles)
    rows = {panel["gridPos"]["y"]: panel["title"] for panel in DASHBOARD["panels"] if panel["type"] == "row"}
    places = [(max(y for y in rows if y <= panel["gridPos"]["y"]), panel["title"]) for panel in PANELS]
    assert len(set(places)) == len(places)
    assert {panel["datasource"]["uid"] for panel in PANELS} == {"${datasource}"}


def test_no_panel_lies_on_another() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
