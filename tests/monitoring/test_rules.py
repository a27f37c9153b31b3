"""The rules are valid, each alert fires when it should and not before, and the runbook has a line for each."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

SHIPPED = Path(__file__).parents[2] / "deploy/monitoring"
CASES = sorted((Path(__file__).parent / "rules").glob("*.yml"))


def alerts() -> dict[str, dict[str, Any]]:
    groups = yaml.safe_load((SHIPPED / "rules/alerts.yml").read_text(encoding="utf-8"))["groups"]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def promtool(*words: str | Path) -> None:
    ended = subprocess.run(["promtool", *words], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_prometheus_takes_configuration_and_rules() -> None:
    promtool("check", "config", SHIPPED / "prometheus.yml")
    promtool("check", "rules", *sorted((SHIPPED / "rules").glob("*.yml")))


@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_and_are_silent(cases: Path) -> None:
    """What promtool says of the cases; `for` and the thresholds are part of them."""
    promtool("test", "rules", cases)


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    fires: set[str] = set()
    silent: set[str] = set()
    for cases in CASES:
        for group in yaml.safe_load(cases.read_text(encoding="utf-8"))["tests"]:
            for case in group["alert_rule_test"]:
                (fires if case["exp_alerts"] else silent).add(case["alertname"])
    assert fires == silent == set(alerts())


def test_the_runbook_has_a_line_for_every_alert() -> None:
    """Its table names them all, in their order, with their severity."""
    table = (SHIPPED / "README.md").read_text(encoding="utf-8").partition("<!-- alerts -->\n")[2].partition("<!-- /alerts -->")[0]
    told = re.findall(r"^\| `(\w+)` \| (\w+) \| .{40,} \|$", table, re.MULTILINE)
    assert told == [(name, rule["labels"]["severity"]) for name, rule in alerts().items()]
