"""What ways in and Prometheus are told in Kubernetes is what nginx and Prometheus are told elsewhere: one figure, wherever it stands."""

import json
import re

import pytest
import yaml
from deploy.k8s import rules
from tests.deploy.manifests import K8S, container, of_kind, rendered, the
from tests.deploy.proxy import SOURCE

GATEWAY_CONF = (SOURCE / "gateway.conf").read_text(encoding="utf-8")
SERVER, _, CHAT = GATEWAY_CONF.partition("server {")[2].partition("location /v1/ {")
CHAT = CHAT.partition("}")[0]


def said(directive: str, *, of: str = SERVER + CHAT) -> str:
    """What nginx is told last: the location's word over the server's."""
    found: list[str] = re.findall(rf"^\s*{directive} ([^;]+);", of, re.MULTILINE)
    assert found, directive
    return found[-1]


ANNOTATIONS = {  # by directive: the words of ingress-nginx, of F5's controller
    "client_max_body_size": ("proxy-body-size", "client-max-body-size"),
    "client_body_buffer_size": ("client-body-buffer-size", "client-body-buffer-size"),
    "proxy_buffering": ("proxy-buffering", "proxy-buffering"),
    "proxy_http_version": ("proxy-http-version", None),
    "proxy_connect_timeout": ("proxy-connect-timeout", "proxy-connect-timeout"),
    "proxy_send_timeout": ("proxy-send-timeout", "proxy-send-timeout"),
    "proxy_read_timeout": ("proxy-read-timeout", "proxy-read-timeout"),
    "proxy_next_upstream": ("proxy-next-upstream", "proxy-next-upstream"),
    "proxy_next_upstream_tries": ("proxy-next-upstream-tries", "proxy-next-upstream-tries"),
    "proxy_next_upstream_timeout": ("proxy-next-upstream-timeout", "proxy-next-upstream-timeout"),
}


@pytest.mark.parametrize("directive", ANNOTATIONS)
def test_the_ingress_says_what_nginx_conf_says(directive: str) -> None:
    annotations = the(rendered("prod"), "Ingress", "sightline")["metadata"]["annotations"]
    theirs, f5 = ANNOTATIONS[directive]
    expected = said(directive)

    assert annotations[f"nginx.ingress.kubernetes.io/{theirs}"] in {expected, expected.removesuffix("s")}
    if f5:
        assert annotations[f"nginx.org/{f5}"] == {"off": "False"}.get(expected, expected)


def test_the_ingress_limits_an_address_as_nginx_conf_does() -> None:
    annotations = the(rendered("prod"), "Ingress", "sightline")["metadata"]["annotations"]

    assert f"sightline_clients {annotations['nginx.ingress.kubernetes.io/limit-connections']}" == said("limit_conn")


def test_the_gateway_fabric_says_what_nginx_conf_says() -> None:
    objects = rendered("gateway-api")
    body = the(objects, "ClientSettingsPolicy", "sightline")["spec"]["body"]
    proxy = the(objects, "ProxySettingsPolicy", "sightline")["spec"]

    assert body == {"maxSize": said("client_max_body_size"), "timeout": said("client_body_timeout")}
    assert proxy["buffering"] == {"disable": said("proxy_buffering") == "off"}
    assert proxy["timeout"] == {which: said(f"proxy_{which}_timeout") for which in ("connect", "send", "read")}


@pytest.mark.parametrize("name", ["prod", "gateway-api"])
def test_only_those_paths_are_let_in_that_nginx_conf_lets_in(name: str) -> None:
    paths = [
        (path["path"], path["pathType"] == "Exact")
        for found in of_kind(rendered(name), "Ingress")
        for rule in found["spec"]["rules"]
        for path in rule["http"]["paths"]
    ] or [
        (match["path"]["value"], match["path"]["type"] == "Exact")
        for found in of_kind(rendered(name), "HTTPRoute")
        for rule in found["spec"]["rules"]
        for match in rule["matches"]
    ]
    places = re.findall(r"^    location (= )?(\S+) \{ ?(?!return)", GATEWAY_CONF, re.MULTILINE)
    expected = {(path.rstrip("/") or "/", bool(exact)) for exact, path in places if path != "/sightline-error"} - {("/", False)}

    assert set(paths) == expected


def test_nginx_in_the_cluster_has_the_files_that_are_tried_elsewhere() -> None:
    objects = rendered("nginx")
    (conf,) = (
        volume
        for volume in the(objects, "Deployment", "sightline-nginx")["spec"]["template"]["spec"]["volumes"]
        if volume["name"] == "conf"
    )
    given = the(objects, "ConfigMap", conf["projected"]["sources"][0]["configMap"]["name"])["data"]

    for file, source in {
        "nginx.conf": "nginx.conf",
        "gateway.conf": "gateway.conf",
        "tls.conf": "tls.conf",
        "listen.conf": "listen/tls.conf",
    }.items():
        assert given[file] == (SOURCE / source).read_text(encoding="utf-8"), file
    service = the(objects, "Service", "sightline")
    assert f"server {service['metadata']['name']}:{service['spec']['ports'][0]['port']} " in given["upstream.conf"]


def test_prometheus_operator_gets_the_rules_that_are_tried_elsewhere() -> None:
    """After a change of deploy/monitoring/rules: `python deploy/k8s/rules.py`."""
    assert rules.WRITTEN.read_text(encoding="utf-8") == rules.manifest()


def test_grafana_gets_the_dashboard_that_is_tried_elsewhere() -> None:
    (dashboard,) = (
        found for found in of_kind(rendered("monitoring"), "ConfigMap") if "grafana_dashboard" in found["metadata"].get("labels", {})
    )
    (text,) = dashboard["data"].values()

    assert json.loads(text) == json.loads((K8S / "../monitoring/dashboard.json").read_text(encoding="utf-8"))


def test_prometheus_scrapes_as_it_does_elsewhere() -> None:
    """Rules and dashboard count on the interval, and tell gateways from engines by their job's name."""
    plain = yaml.safe_load((K8S / "../monitoring/prometheus.yml").read_text(encoding="utf-8"))
    for monitor in of_kind(rendered("monitoring"), "ServiceMonitor"):
        assert {endpoint["interval"] for endpoint in monitor["spec"]["endpoints"]} == {plain["global"]["scrape_interval"]}
        job = monitor["spec"]["selector"]["matchLabels"][monitor["spec"]["jobLabel"]]
        assert ("sightline" in job) == (monitor["metadata"]["name"] == "sightline")


def test_an_autoscaler_asks_for_the_model_that_its_engine_serves() -> None:
    objects = rendered("keda")
    (scaled,) = (found["spec"] for found in of_kind(objects, "ScaledObject") if found["metadata"]["name"] != "sightline")
    model = container(the(objects, "Deployment", scaled["scaleTargetRef"]["name"])["spec"]["template"])["args"][0]

    for trigger in scaled["triggers"]:
        assert f'namespace="sightline",model_name="{model}"' in trigger["metadata"]["query"]
