"""Who may speak to whom, by the NetworkPolicies as Kubernetes reads them together: whoever is not named is refused."""

from collections.abc import Iterator, Mapping
from ipaddress import ip_address, ip_network

import pytest
from tests.deploy.manifests import ENGINES, OVERLAYS, Object, labels, of_kind, pods, rendered, selects
from tests.deploy.names import ENGINE_PORT, GATEWAY_PORT, METRICS_PORT

from sightline.pictures import addresses

everywhere = pytest.mark.parametrize("name", [*OVERLAYS, *ENGINES])
COMPONENT = "app.kubernetes.io/component"
OURS = "sightline"
REDIS, SENTINEL = 6379, 26379

Peer = tuple[str, Mapping[str, str]]  # a pod: its namespace (with `+callers`: one that has that label), its labels


def policies(objects: list[Object], pod: Mapping[str, str], direction: str) -> list[Object]:
    """Those that take this pod of ours, and judge this direction."""
    return [
        found["spec"]
        for found in of_kind(objects, "NetworkPolicy")
        if direction in found["spec"]["policyTypes"] and selects(found["spec"]["podSelector"], pod)
    ]


def permits(objects: list[Object], direction: str, pod: Mapping[str, str], other: Peer | str, port: int, protocol: str = "TCP") -> bool:
    """Whether our pod may take from (Ingress) or go to (Egress) a pod, or an address of the world outside."""
    judges = policies(objects, pod, direction)
    assert judges, f"no policy takes {pod}"  # it would be open to everybody
    rules = [rule for judge in judges for rule in judge.get(direction.lower(), ())]
    side = "from" if direction == "Ingress" else "to"
    return any(_port(rule, port, protocol) and (side not in rule or any(_peer(peer, other) for peer in rule[side])) for rule in rules)


def _port(rule: Object, port: int, protocol: str) -> bool:
    return "ports" not in rule or any((open_["port"], open_["protocol"]) == (port, protocol) for open_ in rule["ports"])


def _peer(peer: Object, other: Peer | str) -> bool:
    if "ipBlock" in peer:
        return isinstance(other, str) and _within(peer["ipBlock"], other)
    if isinstance(other, str):
        return False
    namespace, pod = other
    if "namespaceSelector" in peer:
        named = {"kubernetes.io/metadata.name": namespace.partition("+")[0]} | ({"sightline-callers": "true"} if "+" in namespace else {})
        return selects(peer["namespaceSelector"], named) and selects(peer.get("podSelector", {}), pod)
    return namespace == OURS and selects(peer["podSelector"], pod)


def _within(block: Object, address: str) -> bool:
    return ip_address(address) in ip_network(block["cidr"]) and not any(
        ip_address(address) in ip_network(network) for network in block.get("except", ())
    )


def of(objects: list[Object], component: str) -> Iterator[Mapping[str, str]]:
    for _, pod in pods(objects):
        if labels(pod)[COMPONENT] == component:
            yield labels(pod)


def pairs(objects: list[Object], port: int) -> set[tuple[str, str]]:
    """Who of ours reaches whom of ours at this port: both must be permitted, the one to go and the other to take. Not told of the nodes
    of one engine, which reach each other at any.
    """
    every = [labels(pod) for _, pod in pods(objects)]
    return {
        (one[COMPONENT], other[COMPONENT])
        for one in every
        for other in every
        if permits(objects, "Egress", one, (OURS, other), port) and permits(objects, "Ingress", other, (OURS, one), port)
        if not (one.get("sightline-group") == other.get("sightline-group") == "ray")
    }


def callers(objects: list[Object], component: str, port: int) -> set[str]:
    """Whom these pods would take at this port of all that might stand in this namespace or another, whatever those may do themselves."""
    strangers = {name: (OURS, {COMPONENT: name}) for name in ("gateway", "proxy", "store", "engine", "other")}
    strangers |= {"elsewhere": ("elsewhere", {COMPONENT: "gateway"}), "labelled": ("shop+callers", {COMPONENT: "gateway"})}
    return {name for name, who in strangers.items() for pod in of(objects, component) if permits(objects, "Ingress", pod, who, port)}


@everywhere
def test_engines_are_reached_by_gateways_only(name: str) -> None:
    assert pairs(rendered(name), ENGINE_PORT) == {("gateway", "engine")}
    assert callers(rendered(name), "engine", ENGINE_PORT) == {"gateway"}


@pytest.mark.parametrize("name", OVERLAYS)
def test_redis_is_reached_by_gateways_and_its_fellows_only(name: str) -> None:
    expected = {("gateway", "store"), ("store", "store")} if name == "redis-ha" else {("gateway", "store")}

    assert pairs(rendered(name), REDIS) == expected
    assert callers(rendered(name), "store", REDIS) == {one for one, _ in expected}
    assert pairs(rendered(name), SENTINEL) == (expected if name == "redis-ha" else set())


@everywhere
def test_gateways_are_reached_by_the_way_in_only(name: str) -> None:
    """Nobody of ours but nginx, of others the named namespaces, and none of them at the port of the metrics."""
    objects = rendered(name)
    (gateway,) = of(objects, "gateway")
    assert pairs(objects, GATEWAY_PORT) == ({("proxy", "gateway")} if name == "nginx" else set())
    assert pairs(objects, METRICS_PORT) == set()
    ways_in = {"dev": None, "nginx": None, "gateway-api": "gateways"} | dict.fromkeys(ENGINES)
    for namespace in ("ingress-nginx", "gateways", "default", "kube-system", "monitoring"):
        expected = namespace == ways_in.get(name, "ingress-nginx")
        assert permits(objects, "Ingress", gateway, (namespace, {}), GATEWAY_PORT) == expected, namespace
        assert not permits(objects, "Ingress", gateway, (namespace, {}), METRICS_PORT), namespace
    assert permits(objects, "Ingress", gateway, ("shop+callers", {}), GATEWAY_PORT)
    assert not permits(objects, "Ingress", gateway, "93.184.215.14", GATEWAY_PORT)


def test_the_nodes_of_one_engine_reach_each_other_and_no_other_engine() -> None:
    objects = rendered("multi-node")
    worker = next(of(objects, "engine-worker"))
    leader, other = sorted(of(objects, "engine"), key=lambda found: "sightline-group" not in found)
    for one, two in [(worker, leader), (leader, worker)]:
        assert permits(objects, "Egress", one, (OURS, two), 40000)
        assert permits(objects, "Ingress", two, (OURS, one), 40000)
    assert not permits(objects, "Ingress", worker, (OURS, other), 40000)
    assert not permits(objects, "Egress", other, (OURS, worker), 40000)


@everywhere
def test_prometheus_reaches_metrics_where_there_is_monitoring(name: str) -> None:
    objects = rendered(name)
    prometheus = ("monitoring", {"app.kubernetes.io/name": "prometheus"})
    watched = name in {"monitoring", "keda"}
    for pod, port in [*((pod, METRICS_PORT) for pod in of(objects, "gateway")), *((pod, ENGINE_PORT) for pod in of(objects, "engine"))]:
        assert permits(objects, "Ingress", pod, prometheus, port) == watched
        assert not permits(objects, "Ingress", pod, ("elsewhere", prometheus[1]), port)
        assert not permits(objects, "Ingress", pod, ("monitoring", {"app.kubernetes.io/name": "grafana"}), port)
    (gateway,) = of(objects, "gateway")
    assert not permits(objects, "Ingress", gateway, prometheus, GATEWAY_PORT)


@everywhere
def test_everybody_asks_dns(name: str) -> None:
    objects = rendered(name)
    for owner, pod in pods(objects):
        for protocol in ("UDP", "TCP"):
            assert permits(objects, "Egress", labels(pod), ("kube-system", {"k8s-app": "kube-dns"}), 53, protocol), owner
            assert not permits(objects, "Egress", labels(pod), ("kube-system", {"k8s-app": "other"}), 53, protocol), owner
            assert not permits(objects, "Egress", labels(pod), "8.8.8.8", 53, protocol), owner


@everywhere
def test_gateways_and_engines_reach_the_public_web_and_nobody_else_does(name: str) -> None:
    """Pictures by URL, and models; at the ports of the web only."""
    objects = rendered(name)
    for owner, pod in pods(objects):
        out = labels(pod)[COMPONENT] in {"gateway", "engine", "engine-worker"}
        for address in ("93.184.215.14", "172.32.0.1", "2606:4700::1"):
            for port in (80, 443):
                assert permits(objects, "Egress", labels(pod), address, port) == out, (owner, address)
            assert not permits(objects, "Egress", labels(pod), address, 22), owner


@everywhere
def test_private_and_metadata_addresses_are_reached_by_nobody(name: str) -> None:
    """The first and last of each network that the gateway itself refuses."""
    objects = rendered(name)
    refused = [*addresses.METADATA, *addresses.INTERNAL, *addresses.SPECIAL]
    for owner, pod in pods(objects):
        for network in refused:
            for address in (network[0], network[-1]):
                assert not permits(objects, "Egress", labels(pod), str(address), 443), (owner, network)


def test_what_is_left_out_is_what_the_gateway_refuses() -> None:
    """No more than that: a network that stands here and not there would be refused without a word."""
    (policy,) = (found for found in of_kind(rendered("prod"), "NetworkPolicy") if found["metadata"]["name"] == "to-public")
    (rule,) = policy["spec"]["egress"]
    refused = {str(network) for network in (*addresses.METADATA, *addresses.INTERNAL, *addresses.SPECIAL)}

    assert {network for peer in rule["to"] for network in peer["ipBlock"]["except"]} <= refused
    assert [peer["ipBlock"]["cidr"] for peer in rule["to"]] == ["0.0.0.0/0", "2000::/3"]  # all of IPv6 that is public
