"""A gateway's metrics as it serves them."""

from prometheus_client import generate_latest

from sightline.telemetry.metrics import Metrics


def exposed(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()
