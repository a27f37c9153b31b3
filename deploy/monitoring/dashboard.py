"""Writes dashboard.json, which Grafana reads, from panels.yml, which people read: `python deploy/monitoring/dashboard.py`.

Fifty panels of Grafana's JSON are five thousand lines of which one in ten differs from panel to panel; those stand in panels.yml.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import yaml
from pydantic import BaseModel, ConfigDict

HERE = Path(__file__).parent
SHORT = {
    "$of": 'job=~"$job",instance=~"$instance"',
    "$by": 'job=~"$job",instance=~"$instance",model=~"$model"',
    "$every": "$__rate_interval",
    "$chat": 'route="/v1/chat/completions"',
}
KINDS = {"stat": "stat", "lines": "timeseries", "stacked": "timeseries", "heat": "heatmap", "states": "state-timeline"}
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
GREEN, YELLOW, RED, BLUE = "green", "yellow", "red", "blue"


class Query(NamedTuple):
    legend: str
    expr: str


class Panel(BaseModel):
    """One of panels.yml, whose head says what the fields mean."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    title: str
    about: str
    unit: str
    kind: Literal["stat", "lines", "stacked", "heat", "states"] = "lines"
    ask: str | Mapping[str, str] | None = None
    spread: str | None = None
    steps: tuple[float, float] | None = None
    falling: bool = False
    top: float | None = None  # of the axis
    width: int | None = None
    colours: Mapping[str, str] = {}  # of series, by what they are called
    words: Sequence[tuple[int, str, str]] = ()  # value, text, colour

    @property
    def columns(self) -> int:
        return self.width or (3 if self.kind == "stat" else 8)

    @property
    def height(self) -> int:
        return 4 if self.kind == "stat" else 8

    @property
    def queries(self) -> list[Query]:
        if self.spread:
            name, _, chosen = self.spread.partition("{")
            histogram = f"sum by (le) (rate({name}_bucket{{{chosen}[$every]))"
            return [Query(f"p{q}", _whole(f"histogram_quantile(0.{q}, {histogram})")) for q in (50, 95, 99)]
        asked = {"": self.ask} if isinstance(self.ask, str) else self.ask or {}
        return [Query(legend, _whole(expr)) for legend, expr in asked.items()]


class Row(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    row: str
    panels: tuple[Panel, ...]


def rows() -> list[Row]:
    return [Row.model_validate(row) for row in yaml.safe_load((HERE / "panels.yml").read_text(encoding="utf-8"))]


def dashboard() -> dict[str, Any]:
    return {
        "uid": "sightline",
        "title": "Sightline",
        "description": "A gateway for questions about pictures, and the engines behind it.",
        "tags": ["sightline", "vllm"],
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,  # one crosshair for all panels
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": list(_variables())},
        "annotations": {"list": []},
        "links": [],
        "panels": list(_panels()),
    }


def text() -> str:
    return json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"


def _whole(expr: str) -> str:
    for short, whole in SHORT.items():
        expr = expr.replace(short, whole)
    return expr


def _variables() -> Iterator[dict[str, Any]]:
    yield {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus", "hide": 0, "multi": False}
    asked = {
        "job": ("Job", "label_values(sightline_in_flight_requests, job)"),
        "instance": ("Gateway", 'label_values(sightline_in_flight_requests{job=~"$job"}, instance)'),
        "model": ("Model", 'label_values(sightline_requests_total{job=~"$job"}, model)'),
    }
    for name, (label, query) in asked.items():
        yield {
            "name": name,
            "label": label,
            "type": "query",
            "datasource": SOURCE,
            "query": {"query": query, "refId": name},
            "refresh": 2,  # whenever the time shown changes
            "sort": 1,
            "multi": True,
            "includeAll": True,
            "current": {"text": ["All"], "value": ["$__all"]},
            "hide": 0,
        }


def _panels() -> Iterator[dict[str, Any]]:
    number, y = 1, 0
    for row in rows():
        yield {
            "id": number,
            "type": "row",
            "title": row.row,
            "collapsed": False,
            "gridPos": {"h": 1, "w": 24, "x": 0, "y": y},
            "panels": [],
        }
        number, y, x = number + 1, y + 1, 0
        for panel in row.panels:
            if x + panel.columns > 24:
                x, y = 0, y + panel.height
            yield _panel(number, panel, x, y)
            number, x = number + 1, x + panel.columns
        y += row.panels[-1].height


def _panel(number: int, panel: Panel, x: int, y: int) -> dict[str, Any]:
    return {
        "id": number,
        "type": KINDS[panel.kind],
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {"h": panel.height, "w": panel.columns, "x": x, "y": y},
        "targets": [_target(panel, query, letter) for query, letter in zip(panel.queries, "ABCDEFGH", strict=False)],
        "fieldConfig": {"defaults": _defaults(panel), "overrides": [_colour(*pair) for pair in panel.colours.items()]},
        "options": _options(panel),
    }


def _target(panel: Panel, query: Query, letter: str) -> dict[str, Any]:
    return {
        "refId": letter,
        "datasource": SOURCE,
        "editorMode": "code",
        "expr": query.expr,
        "legendFormat": query.legend or "__auto",
        "range": True,
        "format": "heatmap" if panel.kind == "heat" else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Any]:
    custom: dict[str, Any] = {}
    if panel.kind in {"lines", "stacked"}:
        stacked = panel.kind == "stacked"
        custom = {
            "drawStyle": "line",
            "lineWidth": 1,
            "lineInterpolation": "linear",
            "fillOpacity": 40 if stacked else 8,
            "showPoints": "never",
            "spanNulls": False,
            "axisSoftMin": 0,
            "stacking": {"mode": "normal" if stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "dashed" if panel.steps else "off"},
        }
    elif panel.kind == "states":
        custom = {"fillOpacity": 70, "lineWidth": 0}
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "custom": custom,
        "color": {"mode": "thresholds" if panel.kind in {"stat", "states"} else "palette-classic"},
        "thresholds": {"mode": "absolute", "steps": _steps(panel)},
        "mappings": [],
    }
    if panel.kind != "states":
        defaults["min"] = 0
    if panel.top is not None:
        defaults["max"] = panel.top
    if panel.words:
        options = {str(value): {"text": word, "color": colour, "index": value} for value, word, colour in panel.words}
        defaults["mappings"] = [{"type": "value", "options": options}]
    return defaults


def _steps(panel: Panel) -> list[dict[str, Any]]:
    if panel.steps is None:
        return [{"color": BLUE if panel.kind == "stat" else GREEN, "value": None}]
    low, high = panel.steps
    first, last = (RED, GREEN) if panel.falling else (GREEN, RED)
    between = [{"color": YELLOW, "value": low}] if low < high else []
    return [{"color": first, "value": None}, *between, {"color": last, "value": high}]


def _options(panel: Panel) -> dict[str, Any]:
    named = any(query.legend for query in panel.queries)
    legend = {"displayMode": "list", "placement": "bottom", "showLegend": named, "calcs": []}
    match panel.kind:
        case "stat":
            return {
                "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
                "colorMode": "value",
                "graphMode": "none" if "$__range" in panel.queries[0].expr else "area",
                "justifyMode": "auto",
                "orientation": "auto",
                "textMode": "auto",
                "wideLayout": True,
                "showPercentChange": False,
                "percentChangeColorMode": "standard",
            }
        case "heat":
            return {
                "calculate": False,
                "cellGap": 1,
                "cellValues": {"unit": "short"},
                "color": {"mode": "scheme", "scheme": "Blues", "steps": 64, "exponent": 0.5, "fill": "dark-blue", "reverse": False},
                "exemplars": {"color": "rgba(255,0,255,0.7)"},
                "filterValues": {"le": 1e-9},
                "legend": {"show": True},
                "rowsFrame": {"layout": "auto"},
                "showValue": "never",
                "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
                "yAxis": {"axisPlacement": "left", "unit": panel.unit, "reverse": False},
            }
        case "states":
            return {
                "mergeValues": True,
                "showValue": "auto",
                "alignValue": "left",
                "rowHeight": 0.8,
                "legend": legend | {"showLegend": False},
                "tooltip": {"mode": "single", "sort": "none"},
            }
        case _:
            return {"legend": legend, "tooltip": {"mode": "multi", "sort": "desc"}}


def _colour(series: str, colour: str) -> dict[str, Any]:
    return {
        "matcher": {"id": "byName", "options": series},
        "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
    }


if __name__ == "__main__":
    (HERE / "dashboard.json").write_text(text(), encoding="utf-8")
    print(f"dashboard.json: {sum(len(row.panels) for row in rows())} panels")
