"""Writes components/monitoring/rules.yaml, which Prometheus Operator reads, from monitoring/rules, which Prometheus itself reads:
`python deploy/k8s/rules.py`. A test says when it has to be run again.
"""

from pathlib import Path

import yaml

HERE = Path(__file__).parent
RULES = HERE.parent / "monitoring" / "rules"
WRITTEN = HERE / "components" / "monitoring" / "rules.yaml"
HEAD = "# Written by deploy/k8s/rules.py from deploy/monitoring/rules: change those.\n"


def manifest() -> str:
    """A PrometheusRule with the groups of all rule files."""
    groups = [group for file in sorted(RULES.glob("*.yml")) for group in yaml.safe_load(file.read_text(encoding="utf-8"))["groups"]]
    rule = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {"name": "sightline"},
        "spec": {"groups": groups},
    }
    return HEAD + yaml.safe_dump(rule, sort_keys=False, width=1000, allow_unicode=True)


if __name__ == "__main__":
    WRITTEN.write_text(manifest(), encoding="utf-8")
