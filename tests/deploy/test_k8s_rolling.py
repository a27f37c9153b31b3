"""Whatever replaces or removes pods (a new version, a drained node, an autoscaler) lets them finish, and leaves others that answer.

That a gateway which is told to stop loses nothing is tried with real ones (http/test_drain.py, deploy/test_nginx_rolling.py); here it is
the figures that Kubernetes gets.
"""

import re

import pytest
from tests.deploy.manifests import (
    ENGINES,
    OVERLAYS,
    WORKLOADS,
    Object,
    container,
    engines,
    gateway,
    labels,
    of_kind,
    pods,
    rendered,
    selects,
    settings,
    the,
)
from tests.deploy.proxy import SOURCE

from sightline.engines.discovery import LOOK_EVERY
from sightline.settings import load

everywhere = pytest.mark.parametrize("name", [*OVERLAYS, *ENGINES])
PRODUCTION = [name for name in OVERLAYS if name != "dev"]
DNS_KEEPS = 5  # seconds: CoreDNS's own default for names of the cluster


def pause(pod: Object) -> int:
    """Seconds between the word that a pod is leaving and its SIGTERM."""
    seconds: int = container(pod)["lifecycle"]["preStop"]["sleep"]["seconds"]
    return seconds


@everywhere
def test_a_gateway_may_drain_before_it_is_killed(name: str) -> None:
    objects = rendered(name)
    pod = gateway(objects)

    assert pod["spec"]["terminationGracePeriodSeconds"] >= pause(pod) + load(None, settings(objects)).timeouts.drain + 5


@everywhere
def test_a_gateway_that_leaves_goes_on_answering_until_all_have_heard(name: str) -> None:
    assert pause(gateway(rendered(name))) >= 5


@everywhere
def test_an_engine_may_finish_before_it_is_killed(name: str) -> None:
    """What is under way; and every gateway has looked the name up again before it takes no more."""
    for owner, pod in engines(rendered(name)):
        assert pause(pod) >= DNS_KEEPS + LOOK_EVERY, owner
        given = re.findall(r"--shutdown-timeout=(\d+)", " ".join(container(pod)["args"]))
        assert bool(given) == (container(pod)["image"] != "sightline-engine-cpu:0.1.0"), owner
        assert pod["spec"]["terminationGracePeriodSeconds"] >= pause(pod) + sum(map(int, given)) + 15, owner


def test_nginx_may_finish_before_it_is_killed() -> None:
    pod = the(rendered("nginx"), "Deployment", "sightline-nginx")["spec"]["template"]
    (finishing,) = re.findall(r"worker_shutdown_timeout (\d+)s;", (SOURCE / "nginx.conf").read_text(encoding="utf-8"))

    assert pause(pod) >= 5
    assert pod["spec"]["terminationGracePeriodSeconds"] > pause(pod) + int(finishing)


@pytest.mark.parametrize("name", PRODUCTION)
def test_a_new_version_takes_none_away_before_the_next_one_answers(name: str) -> None:
    for who in ("sightline", "sightline-nginx") if name == "nginx" else ("sightline",):
        assert the(rendered(name), "Deployment", who)["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 1, "maxUnavailable": 0}


@pytest.mark.parametrize("name", PRODUCTION)
def test_a_new_engine_waits_for_no_gpu(name: str) -> None:
    """One leaves first: there is no spare GPU for a surge. The others answer, where there are others."""
    objects = rendered(name)
    for found in of_kind(objects, "Deployment"):
        if labels(found["spec"]["template"])["app.kubernetes.io/component"] == "engine":
            assert found["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
            probe = container(found["spec"]["template"])["startupProbe"]
            assert found["spec"]["progressDeadlineSeconds"] > probe["periodSeconds"] * probe["failureThreshold"]
    for found in of_kind(objects, "LeaderWorkerSet"):
        assert found["spec"]["rolloutStrategy"]["rollingUpdateConfiguration"] == {"maxSurge": 0, "maxUnavailable": 1}


@pytest.mark.parametrize("name", PRODUCTION)
def test_a_drained_node_takes_one_of_each_at_most(name: str) -> None:
    """Whatever has more than one pod is guarded. One Redis is not: nothing but reuse is lost with it, and it may not hold up a node."""
    objects = rendered(name)
    budgets = of_kind(objects, "PodDisruptionBudget")
    assert all(budget["spec"]["maxUnavailable"] == 1 for budget in budgets)
    for found in of_kind(objects, *WORKLOADS):
        guards = [budget for budget in budgets if selects(budget["spec"]["selector"], labels(found["spec"]["template"]))]
        assert len(guards) == (0 if found["metadata"]["name"] == "sightline-redis" else 1), found["metadata"]["name"]


@pytest.mark.parametrize("name", PRODUCTION)
def test_pods_that_wait_for_an_engine_hold_up_no_node(name: str) -> None:
    for who in ("sightline", "glm-4-6v-flash-engine"):
        assert the(rendered(name), "PodDisruptionBudget", who)["spec"]["unhealthyPodEvictionPolicy"] == "AlwaysAllow"


@everywhere
def test_replicas_are_spread(name: str) -> None:
    """Gateways over nodes and zones, Redis strictly over nodes; each rule speaks of the pods that have it."""
    for owner, pod in pods(rendered(name)):
        rules = pod["spec"].get("topologySpreadConstraints", [])
        assert all(selects(rule["labelSelector"], labels(pod)) for rule in rules), owner
        keys = [(rule["topologyKey"].rpartition("/")[2], rule["whenUnsatisfiable"]) for rule in rules]
        assert keys == {
            "sightline": [("hostname", "ScheduleAnyway"), ("zone", "ScheduleAnyway")],
            "sightline-nginx": [("hostname", "ScheduleAnyway")],
            "sightline-redis-ha": [("hostname", "DoNotSchedule")],
        }.get(owner, []), owner


@pytest.mark.parametrize("name", PRODUCTION)
def test_gateways_are_two_at_least_and_grow_by_what_they_do(name: str) -> None:
    objects = rendered(name)
    if name == "keda":
        spec = the(objects, "ScaledObject", "sightline")["spec"]
        least, most = spec["minReplicaCount"], spec["maxReplicaCount"]
        (queried,) = (trigger["metadata"]["query"] for trigger in spec["triggers"] if trigger["type"] == "prometheus")
        assert "sightline_in_flight_requests" in queried
    else:
        spec = the(objects, "HorizontalPodAutoscaler", "sightline")["spec"]
        least, most = spec["minReplicas"], spec["maxReplicas"]
        assert [metric["resource"]["name"] for metric in spec["metrics"]] == ["cpu"]
        assert "cpu" in container(gateway(objects))["resources"]["requests"]  # of which its percentage is one
    assert 2 <= least < most


def test_no_more_than_one_gateway_a_minute_is_taken_away() -> None:
    """After five quiet minutes: a drain takes its time, and a peak comes again."""
    base = the(rendered("prod"), "HorizontalPodAutoscaler", "sightline")["spec"]["behavior"]["scaleDown"]
    keda = the(rendered("keda"), "ScaledObject", "sightline")["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]["scaleDown"]

    assert base == keda == {"stabilizationWindowSeconds": 300, "policies": [{"type": "Pods", "value": 1, "periodSeconds": 60}]}
